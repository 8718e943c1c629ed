package cli_test

import (
	"bufio"
	"context"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/kinesistest"
)

// TestSecondSignal: the first signal begins a graceful stop, which hangs here because the lease
// table does not answer. The second signal ends the process at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		build func(t *testing.T) (binary string)
		args  []string
	}{
		"program of the README": {buildReadme, nil},
		"polling": {
			func(t *testing.T) string { return build(t, "polling") },
			[]string{"-stream", stream, "-application", "printer"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			binary := test.build(t)
			for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
				t.Run(signal.String(), func(t *testing.T) {
					t.Parallel()
					killBySecondSignal(t, signal, binary, test.args...)
				})
			}
		})
	}
}

func killBySecondSignal(t *testing.T, signal syscall.Signal, binary string, args ...string) {
	srv := kinesistest.New(t, kinesistest.Config{
		Listen:  "127.0.0.1:0",
		Streams: []kinesistest.StreamConfig{{Name: stream, Shards: 1}},
	})
	leaseTable := dynamotest.New(dynamotest.Config{})
	tables := httptest.NewServer(leaseTable)
	t.Cleanup(tables.Close)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = environment(srv, tables)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	log := bufio.NewScanner(io.TeeReader(stderr, t.Output()))
	logs := func(message string) {
		for log.Scan() {
			if strings.Contains(log.Text(), message) {
				return
			}
		}
		require.FailNow(t, "the program has ended and has not logged: "+message)
	}

	logs("shard consumer started")
	held := make(chan struct{}, 100) // has an element for each write that hangs
	leaseTable.Inject(dynamotest.Fault{
		Operation: "UpdateItem",
		When: func(dynamotest.Call) bool {
			held <- struct{}{}
			return true
		},
		Do: []dynamotest.Action{dynamotest.Silence()},
	})
	require.NoError(t, cmd.Process.Signal(signal))
	logs("worker stops")

	ended := make(chan error, 1)
	go func() { // ends with the process
		_, _ = io.Copy(t.Output(), stderr)
		ended <- cmd.Wait()
	}()
	for {
		select {
		case <-held:
			// The program of the README may still catch this signal: it removes its handler a moment after
			// it has begun to stop. Then the next write brings one more signal.
			_ = cmd.Process.Signal(signal) // an error if the process has ended
		case err := <-ended:
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "the second signal did not end the process")
			status := exit.Sys().(syscall.WaitStatus)
			require.True(t, status.Signaled(), "%v: the second signal did not end the process", err)
			require.Equal(t, signal, status.Signal())
			return
		}
	}
}

// buildReadme compiles the first program in README.md.
func buildReadme(t *testing.T) (binary string) {
	t.Helper()
	text, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), "```go\n")
	require.True(t, ok)
	program, _, ok := strings.Cut(rest, "```")
	require.True(t, ok)
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	return compile(t, file)
}

// TestQuickstartRuns runs the program in README.md where it cannot work: without a region. It says
// why, and its exit status tells that it failed.
func TestQuickstartRuns(t *testing.T) {
	t.Parallel()
	run := exec.CommandContext(t.Context(), buildReadme(t))
	run.Env = []string{
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
	out, err := run.CombinedOutput()
	var failed *exec.ExitError
	require.ErrorAs(t, err, &failed, "%s", out)
	require.Equal(t, 1, failed.ExitCode(), "%s", out)
	require.Contains(t, string(out), "consumer stopped")
	require.Contains(t, string(out), "has no Region: set AWS_REGION")
}
