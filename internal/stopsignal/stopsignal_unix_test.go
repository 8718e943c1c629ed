//go:build unix

package stopsignal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/stopsignal"
)

// asProgram is an argument that makes the test's binary a program that sends itself signals.
const asProgram = "stopsignal-program"

var signals = map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asProgram {
		program(os.Args[2:])
	}
	os.Exit(m.Run())
}

// program sends itself signals without a pause. After the first its stop takes a minute if there is
// a second one.
func program(names []string) {
	ctx := stopsignal.Context()
	for _, name := range names {
		_ = syscall.Kill(os.Getpid(), signals[name]) // a test fails if it does not arrive
	}
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	if len(names) > 1 {
		<-time.After(time.Minute)
	}
	os.Exit(0)
}

// TestSecondSignalAtOnce: a second signal ends the process, also within a moment of the first.
func TestSecondSignalAtOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ first, second, cause string }{
		{"SIGTERM", "SIGINT", "terminated signal received\n"},
		{"SIGINT", "SIGTERM", "interrupt signal received\n"},
	} {
		t.Run(tc.first, func(t *testing.T) {
			t.Parallel()
			run := func(names ...string) (string, error) {
				cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{asProgram}, names...)...)
				cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
				out, err := cmd.Output()
				return string(out), err
			}
			out, err := run(tc.first)
			require.NoError(t, err)
			require.Equal(t, tc.cause, out)
			_, err = run(tc.first, tc.second)
			failed, ok := errors.AsType[*exec.ExitError](err)
			require.True(t, ok, "%v", err)
			status := failed.Sys().(syscall.WaitStatus)
			require.True(t, status.Signaled())
			// The one that the program handles second: the system may deliver them in another order.
			require.Contains(t, []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}, status.Signal())
		})
	}
}
