package integration

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// kind is a MultiLangDaemon: ours, or one of Java.
type kind struct {
	name     string
	variable string // of the environment, with the command; empty for ours
}

var (
	multilangd = kind{name: "multilangd"}
	java3      = kind{name: "java3", variable: "KCL_JAVA_MULTILANG3"}
	java2      = kind{name: "java2", variable: "KCL_JAVA_MULTILANG2"}

	kinds = []kind{multilangd, java3, java2}
)

func (k kind) isJava() bool { return k.variable != "" }

func (k kind) command(t *testing.T) string {
	t.Helper()
	if k.isJava() {
		return endpoint(t, k.variable)
	}
	require.NoError(t, build())
	return filepath.Join(bin, "multilangd")
}

// daemon is a MultiLangDaemon that a test keeps running, as an orchestrator would.
type daemon struct {
	kind
	worker      string
	properties  string // path
	environment []string
	log         string // path
	ledgers     *childLedgers

	cmd      *exec.Cmd
	exited   chan struct{} // closed when it has been waited for
	starts   int
	stopping bool
}

// start runs the daemon, once more if it ran before.
func (d *daemon) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer log.Close()
	cmd, exited := exec.Command(d.command(t), "-p", d.properties), make(chan struct{})
	cmd.Env = append(os.Environ(), d.environment...)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	d.cmd, d.exited, d.stopping = cmd, exited, false
	d.starts++
	go func() { // ends with the process
		_ = cmd.Wait() // the state is read from cmd
		close(exited)
	}()
}

func (d *daemon) running() bool {
	if d.cmd == nil {
		return false
	}
	select {
	case <-d.exited:
		return false
	default:
		return true
	}
}

// stop sends the signal and returns the exit status, -1 when the signal ended it.
func (d *daemon) stop(ctx context.Context, t *testing.T, signal syscall.Signal) int {
	t.Helper()
	d.stopping = true
	require.NoError(t, d.cmd.Process.Signal(signal))
	select {
	case <-d.exited:
	case <-ctx.Done():
		require.FailNow(t, d.worker+" still runs after "+signal.String())
	}
	return d.cmd.ProcessState.ExitCode()
}

// end is for the end of a test.
func (d *daemon) end(t *testing.T) {
	if d.running() {
		_ = d.cmd.Process.Kill() // an error says that it has ended
		<-d.exited
	}
	d.ledgers.kill()
	if t.Failed() {
		text, err := os.ReadFile(d.log)
		t.Logf("the log of %s (%v):\n%s", d.worker, err, lastLines(string(text), 80))
	}
}

// lastLines cuts lines and text: a daemon logs what children print.
func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, line := range lines {
		lines[i] = line[:min(len(line), 600)]
	}
	return strings.Join(lines, "\n")
}

// writeProperties writes a properties file, with the keys in order.
func writeProperties(t *testing.T, path string, properties map[string]string) {
	t.Helper()
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&text, "%s = %s\n", key, properties[key])
	}
	require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o600))
}

// settings are the properties that all kinds of daemon understand, for local servers. What a child
// has not answered after childTimeout counts as hanging.
func (k kind) settings(url, tables, stream, application, worker, retrieval string) map[string]string {
	properties := map[string]string{
		"streamName": stream, "applicationName": application, "workerId": worker, "retrievalMode": retrieval,
		"AwsCredentialsProvider": "EnvironmentVariableCredentialsProvider", "regionName": region,
		"kinesisEndpoint": url, "dynamoDBEndpoint": tables, "initialPositionInStream": "TRIM_HORIZON",
		"processingLanguage": "any", "metricsLevel": "NONE", "shutdownGraceMillis": "15000",
		"failoverTimeMillis": fmt.Sprint(mixedFailover.Milliseconds()), "shardSyncIntervalMillis": "1000",
		"parentShardPollIntervalMillis": "1000", "timeoutInSeconds": fmt.Sprint(int(childTimeout.Seconds())),
	}
	if k != java2 { // 2.x knows none of these
		maps.Copy(properties, map[string]string{
			"disableWorkerMetrics": "true", "leaseAssignmentIntervalMillis": "3000",
			"coordinatorStateBillingMode": "PAY_PER_REQUEST",
		})
	}
	return properties
}

const childTimeout = 10 * time.Second
