package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/cmd/multilangd/internal/properties"
	"github.com/kinesis-go/kcl/cmd/multilangd/internal/settings"
	"github.com/kinesis-go/kcl/kinesistest"
)

// leaseOf returns the row of a shard.
func (r *rig) leaseOf(t *testing.T, shard string) map[string]types.AttributeValue {
	t.Helper()
	out, err := r.dynamoDB.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: aws.String("app"), ConsistentRead: aws.Bool(true),
		Key: map[string]types.AttributeValue{"leaseKey": &types.AttributeValueMemberS{Value: shard}},
	})
	require.NoError(t, err)
	return out.Item
}

// get asks the daemon's HTTP server, whose address is in the log.
func (d *running) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	address := ""
	for line := range strings.Lines(d.log.String()) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Address != "" {
			address = entry.Address
		}
	}
	require.NotEmpty(t, address, d.log.String())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

// TestDaemon reads a stream with a child, answers on its port, and stops gracefully.
func TestDaemon(t *testing.T) {
	t.Parallel()
	r := newRig(t, kinesistest.Config{})
	r.put(t, "one")
	d := r.start(t, []string{"--listen", "127.0.0.1:0", "--log-format", "json", "-l", "logback.xml"},
		"metricsLevel = NONE", "faioverTimeMillis = 5")
	r.expect(t, "start orders", "initialize shardId-000000000000 TRIM_HORIZON", "record one")
	require.Contains(t, d.log.String(), "the log configuration of the Java daemon has no effect")
	require.Contains(t, d.log.String(), `"keys":{"metricsLevel":"there are no CloudWatch metrics`)
	require.Contains(t, d.log.String(), "unknown key faioverTimeMillis has no effect: did you mean failoverTimeMillis?")

	for _, path := range []string{"/health", "/ready"} {
		status, body := d.get(t, path)
		require.Equal(t, http.StatusOK, status, body)
	}
	_, body := d.get(t, "/status")
	var got struct {
		Phase    string
		Streams  []struct{ Shards []struct{ ShardID string } }
		Children struct{ Children, Starts int }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Equal(t, "running", got.Phase)
	require.Equal(t, "shardId-000000000000", got.Streams[0].Shards[0].ShardID)
	require.Equal(t, 1, got.Children.Children)
	_, body = d.get(t, "/metrics")
	require.Contains(t, body, "kcl_multilang_children 1\n")
	require.Contains(t, body, "kcl_multilang_child_starts_total 1\n")
	require.Contains(t, body, "kcl_user_records_total")
	document, err := os.ReadFile("../../docs/multilang.md")
	require.NoError(t, err)
	own := regexp.MustCompile(`(?m)^# TYPE (kcl_multilang_\w+)`).FindAllStringSubmatch(body, -1)
	require.Len(t, own, 5)
	for _, metric := range own {
		require.Contains(t, string(document), "| `"+metric[1]+"` |")
	}

	d.stop()
	r.expect(t, "shutdownRequested", "leaseLost", "end")
	require.Equal(t, statusOK, d.ended(t))
	row := r.leaseOf(t, "shardId-000000000000")
	require.NotContains(t, row, "leaseOwner")
	require.Regexp(t, `^\d+$`, row["checkpoint"].(*types.AttributeValueMemberS).Value)
	require.NotContains(t, row, "goPinnedAt")

	r.mu.Lock()
	defer r.mu.Unlock()
	program := filepath.Base(os.Args[0]) // this test is its own child
	for agent := range r.agents {
		if strings.Contains(agent, "amazon-kinesis-multi-lang-daemon/1.0.1 go "+program) {
			return
		}
	}
	require.Failf(t, "no user agent of the daemon", "%v", r.agents)
}

// TestSeveralStreams: the environment of a child names its stream.
func TestSeveralStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{
		{Name: "orders", Shards: 1}, {Name: "bills", Shards: 1},
	}})
	file := r.file(t, "streamNames = orders, bills")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), "streamName = orders\n", "", 1)), 0o600))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	status := make(chan int, 1)
	go func() { status <- run(ctx, []string{file}, t.Output(), t.Output()) }() // ends with ctx
	const shard = "initialize shardId-000000000000 TRIM_HORIZON"
	r.expect(t, "start orders", "start bills", shard, shard)
	stop()
	r.expect(t, "shutdownRequested", "leaseLost", "end", "shutdownRequested", "leaseLost", "end")
	require.Equal(t, statusOK, <-status)
}

// TestMaxRecords: no batch has more than maxRecords records.
func TestMaxRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t, kinesistest.Config{}, count)
	for _, data := range []string{"1", "2", "3", "4", "5"} {
		r.put(t, data)
	}
	d := r.start(t, nil, "maxRecords = 2")
	r.expect(t, "start orders", "initialize shardId-000000000000 TRIM_HORIZON", "record 1", "record 2", "batch of 2",
		"record 3", "record 4", "batch of 2", "record 5", "batch of 1")
	d.stop()
	r.expect(t, "shutdownRequested", "leaseLost", "end")
	require.Equal(t, statusOK, d.ended(t))
}

// TestChildIsStartedAgain: a child that dies is replaced, and gets its record again.
func TestChildIsStartedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, kinesistest.Config{}, die, live)
	r.put(t, "one")
	d := r.start(t, nil)
	const begin = "initialize shardId-000000000000 TRIM_HORIZON"
	r.expect(t, "start orders", begin, "record one", "end")
	r.expect(t, "start orders", begin, "record one")
	d.stop()
	r.expect(t, "shutdownRequested", "leaseLost", "end")
	require.Equal(t, statusOK, d.ended(t))
}

// TestChildFailureExit: with childFailure = exit the daemon ends with status 1, as in Java.
func TestChildFailureExit(t *testing.T) {
	t.Parallel()
	r := newRig(t, kinesistest.Config{}, die)
	r.put(t, "one")
	d := r.start(t, nil, "childFailure = exit")
	require.Equal(t, statusFailed, d.ended(t))
	require.Contains(t, d.log.String(), "childFailure = exit: child of stream orders shard shardId-000000000000: ")
	r.expect(t, "start orders", "initialize shardId-000000000000 TRIM_HORIZON", "record one", "end")
	require.NotContains(t, r.leaseOf(t, "shardId-000000000000"), "leaseOwner")
}

// TestIdleChildDies: the death of a child is noticed although no record comes.
func TestIdleChildDies(t *testing.T) {
	t.Parallel()
	const begin = "initialize shardId-000000000000 TRIM_HORIZON"
	t.Run("restart", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, kinesistest.Config{}, leave, live)
		r.put(t, "one")
		d := r.start(t, nil)
		r.expect(t, "start orders", begin, "record one", "end")
		r.await(t, "start orders")
		d.stop()
		require.Equal(t, statusOK, d.ended(t))
	})
	t.Run("exit", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, kinesistest.Config{}, leave)
		r.put(t, "one")
		d := r.start(t, nil, "childFailure = exit")
		require.Equal(t, statusFailed, d.ended(t))
		require.Contains(t, d.log.String(), "wait for work: the child runs no more; the child ended with exit status 4")
	})
}

// TestHangingChild: a child that exceeds timeoutInSeconds is replaced.
func TestHangingChild(t *testing.T) {
	t.Parallel()
	r := newRig(t, kinesistest.Config{}, hang)
	r.put(t, "one")
	d := r.start(t, nil, "timeoutInSeconds = 1")
	// On a slow machine a child may also take a second to start, and is replaced as well.
	r.await(t, "record one")
	r.instruct(count)
	r.await(t, "batch of 1")
	d.stop()
	require.Equal(t, statusOK, d.ended(t))
}

// TestStopWithoutGrace: shutdownGraceMillis = 0 kills the children at once, without a checkpoint,
// and gives the leases back.
func TestStopWithoutGrace(t *testing.T) {
	t.Parallel()
	r := newRig(t, kinesistest.Config{}, hang)
	r.put(t, "one")
	d := r.start(t, nil, "shutdownGraceMillis = 0")
	r.expect(t, "start orders", "initialize shardId-000000000000 TRIM_HORIZON", "record one")
	begin := time.Now()
	d.stop()
	require.Equal(t, statusOK, d.ended(t))
	require.Less(t, time.Since(begin), 10*time.Second)
	r.expect(t, "end")
	row := r.leaseOf(t, "shardId-000000000000")
	require.NotContains(t, row, "leaseOwner")
	require.Equal(t, "TRIM_HORIZON", row["checkpoint"].(*types.AttributeValueMemberS).Value)
}

// TestStopOfAHangingChild: a child that hangs does not hold up a stop for longer than the grace.
func TestStopOfAHangingChild(t *testing.T) {
	t.Parallel()
	r := newRig(t, kinesistest.Config{}, hang)
	r.put(t, "one")
	d := r.start(t, nil, "shutdownGraceMillis = 500")
	r.expect(t, "start orders", "initialize shardId-000000000000 TRIM_HORIZON", "record one")
	begin := time.Now()
	d.stop()
	require.Equal(t, statusOK, d.ended(t))
	require.Less(t, time.Since(begin), 15*time.Second)
	require.Contains(t, d.log.String(), "shutdown took too long")
	require.NotContains(t, r.leaseOf(t, "shardId-000000000000"), "leaseOwner")
	r.expect(t, "end")
}

// TestM06Signals: SIGTERM stops the process gracefully. A second one ends it at once.
func TestM06Signals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mode    string
		signals int
	}{"graceful": {live, 1}, "atOnce": {hang, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, kinesistest.Config{}, tc.mode)
			r.put(t, "one")
			self, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.CommandContext(t.Context(), self, asDaemon, "-log-format=json", r.file(t))
			logs := &buffer{}
			cmd.Stderr = logs
			require.NoError(t, cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			r.expect(t, "start orders", "initialize shardId-000000000000 TRIM_HORIZON", "record one")
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			if tc.signals == 1 {
				require.NoError(t, cmd.Wait(), "exit status 0")
				r.expect(t, "shutdownRequested", "leaseLost", "end")
				return
			}
			require.Eventually(t, func() bool { return strings.Contains(logs.String(), "worker stops") },
				time.Minute, 10*time.Millisecond)
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			failed, ok := errors.AsType[*exec.ExitError](cmd.Wait())
			require.True(t, ok)
			require.Equal(t, syscall.SIGTERM, failed.Sys().(syscall.WaitStatus).Signal())
			r.expect(t, "end") // the child does not outlive the daemon
		})
	}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"none":     {nil, []string{"the properties file is missing: give it as -p FILE", "try multilangd -help"}},
		"flag":     {[]string{"-nope"}, []string{"-nope"}},
		"twoFiles": {[]string{"a", "b"}, []string{`unexpected argument "b": give one properties file`}},
		"other":    {[]string{"-p", "a", "b"}, []string{`unexpected argument "b": -p names another properties file`}},
		"level":    {[]string{"a", "-log-level", "loud"}, []string{"-log-level"}},
		"several": {
			[]string{"-log-format", "xml", "-listen", "8080"},
			[]string{"-log-format \"xml\": use text or json", "-listen \"8080\" is not host:port", "file is missing"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr buffer
			require.Equal(t, statusUsage, run(t.Context(), tc.args, &stdout, &stderr))
			require.Empty(t, stdout.String())
			for _, want := range tc.want {
				require.Contains(t, stderr.String(), want)
			}
		})
	}
}

func TestCommandLineForms(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"a"},
		{"-p", "a"},
		{"--properties-file", "a"},
		{"-properties-file=a"},
		{"a", "--check", "-l", "b"},
		{"--log-configuration", "b", "-p", "a", "a"},
	} {
		o, err := parse(args, io.Discard)
		require.NoError(t, err)
		require.Equal(t, "a", o.file, args)
	}
	var stdout, stderr buffer
	require.Equal(t, statusOK, run(t.Context(), []string{"--version"}, &stdout, &stderr))
	require.Regexp(t, `^multilangd .+\n$`, stdout.String())
	require.Equal(t, statusOK, run(t.Context(), []string{"-h"}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "usage: multilangd")
}

// TestFilesWithMistakes: each mistake is one line of the log, and the status is 1.
func TestFilesWithMistakes(t *testing.T) {
	t.Parallel()
	r := newRig(t, kinesistest.Config{})
	for name, tc := range map[string]struct {
		lines []string
		want  []string
	}{
		"several": {
			[]string{`workerId = \u12`, "failoverTimeMillis = 1", "tableName = a/b"},
			[]string{`:11: malformed escape \\u12: `, ":12: failoverTimeMillis = 1: ", ":13: tableName = a/b: is not the name"},
		},
		"program":    {[]string{"executableName = /no/such/program"}, []string{"executableName: ", "/no/such/program"}},
		"credential": {[]string{"AwsCredentialsProvider = Nobody"}, []string{`unknown provider \"Nobody\"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logs := &buffer{}
			args := []string{"-log-format=json", r.file(t, tc.lines...)}
			require.Equal(t, statusFailed, run(t.Context(), args, t.Output(), logs))
			for _, want := range tc.want {
				require.Contains(t, logs.String(), want)
			}
		})
	}
	logs := &buffer{}
	require.Equal(t, statusFailed, run(t.Context(), []string{"/no/such/file"}, t.Output(), logs))
	require.Contains(t, logs.String(), "read the properties file")
	require.Equal(t, statusFailed, run(t.Context(), []string{"-listen", "256.0.0.1:1", r.file(t)}, t.Output(), logs))
	require.Contains(t, logs.String(), "-listen 256.0.0.1:1: ")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	require.Empty(t, limits{-1, -1}.problems(1000))
	require.Empty(t, limits{descriptors: 500, processes: 200}.problems(100))
	require.Equal(t, []string{
		"100 children need 500 file descriptors, and the limit is 499: " +
			"raise it (ulimit -n, LimitNOFILE), or set maxLeasesForWorker",
		"100 children need 200 processes and threads of the user, and the limit is 199: " +
			"raise it (ulimit -u, LimitNPROC), or set maxLeasesForWorker",
	}, limits{descriptors: 499, processes: 199}.problems(100))
	require.NotZero(t, systemLimits().descriptors)
}

// TestMemoryFor: a worker with few shards reads little ahead.
func TestMemoryFor(t *testing.T) {
	t.Parallel()
	for children, megabytes := range map[int]int64{0: 64, 1: 64, 8: 64, 16: 128, 32: 256, 1000: 256} {
		require.Equal(t, megabytes<<20, memoryFor(children), children)
	}
	r := newRig(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 16}}})
	file, err := properties.Load(r.file(t))
	require.NoError(t, err)
	cfg, _, err := settings.Read(file)
	require.NoError(t, err)
	d, err := newDaemon(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer d.command.Close()
	require.EqualValues(t, 128<<20, d.size(t.Context()))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Zero(t, d.size(ended), "the number of shards is not known")
}

// TestReport: a joined error has a line for each error, and an error that wraps several has one.
func TestReport(t *testing.T) {
	t.Parallel()
	logs := &buffer{}
	one := fmt.Errorf("%w: allow it: %w", io.ErrNoProgress, io.EOF)
	report(options{logFormat: formatJSON}.logger(logs), errors.Join(errors.Join(one, io.ErrShortWrite), io.ErrClosedPipe))
	require.Equal(t, 3, strings.Count(logs.String(), "\n"))
	require.Contains(t, logs.String(), `"err":"multiple Read calls return no data or error: allow it: EOF"`)
}
