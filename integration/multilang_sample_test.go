package integration

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMultiLangSample is make run_sample: a daemon runs the sample on our fakes of Kinesis and
// DynamoDB, without DynamoDB Local. The jars of the Java daemon 2.7.2 are not part of the suite, so
// that it runs only if the flag names it.
func TestMultiLangSample(t *testing.T) {
	t.Parallel()
	chosen := chosenDaemons(t)
	for _, k := range kinds {
		if k == java2 && !slices.Contains(chosen, k) {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, build())
			arguments := []string{"-time", "10m"}
			if k.isJava() {
				arguments = append(arguments, "-daemon", k.command(t))
				javaWorkers <- struct{}{}
				t.Cleanup(func() { <-javaWorkers })
			}
			cmd := exec.CommandContext(within(t, 11*time.Minute), filepath.Join(bin, "runsample"), arguments...)
			cmd.Dir = ".." // it builds programs of the module
			cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
			require.NoError(t, cmd.Run())
		})
	}
}
