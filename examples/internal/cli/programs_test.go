package cli_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
)

const stream = "orders"

// printed is a line of the programs, with all promised fields.
type printed struct {
	Stream             string
	Shard              string
	SequenceNumber     string
	SubSequenceNumber  *int
	PartitionKey       *string
	ApproximateArrival time.Time
	Data               []byte
}

// program is one of the examples as a process.
type program struct {
	*exec.Cmd
	stdout *bufio.Scanner
	pipe   *os.File
}

// build compiles an example.
func build(t *testing.T, name string) (binary string) {
	t.Helper()
	return compile(t, "github.com/kinesis-go/kcl/examples/"+name)
}

// compile compiles a program, named by its package or its file.
func compile(t *testing.T, program string) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "program")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, program).CombinedOutput()
	require.NoError(t, err, string(out))
	return binary
}

// environment returns the environment of a program that uses the servers.
func environment(srv *kinesistest.Server, tables *httptest.Server) []string {
	return append(os.Environ(),
		"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret",
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_ENDPOINT_URL_KINESIS="+srv.URL(), "AWS_ENDPOINT_URL_DYNAMODB="+tables.URL)
}

func start(t *testing.T, binary string, env []string, args ...string) *program {
	t.Helper()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	p := &program{Cmd: exec.CommandContext(t.Context(), binary, args...), stdout: bufio.NewScanner(read), pipe: read}
	p.Env = env
	p.Stdout, p.Stderr = write, t.Output()
	p.WaitDelay = 10 * time.Second
	require.NoError(t, p.Start())
	require.NoError(t, write.Close())
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = read.Close()
	})
	return p
}

// next returns the next record on standard output.
func (p *program) next(t *testing.T) printed {
	t.Helper()
	require.NoError(t, p.pipe.SetReadDeadline(time.Now().Add(time.Minute)))
	require.True(t, p.stdout.Scan(), "no line in time: %v", p.stdout.Err())
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(p.stdout.Bytes(), &fields))
	require.ElementsMatch(t, []string{
		"stream", "shard", "sequenceNumber", "subSequenceNumber", "partitionKey",
		"approximateArrival", "data",
	},
		slices.Collect(maps.Keys(fields)), "a promised field is missing, or one is new: %s", p.stdout.Text())
	var line printed
	require.NoError(t, json.Unmarshal(p.stdout.Bytes(), &line))
	require.NotNil(t, line.SubSequenceNumber)
	return line
}

// terminate stops the program as a supervisor does. The program may print no more record.
func (p *program) terminate(t *testing.T, signal os.Signal) {
	t.Helper()
	require.NoError(t, p.Process.Signal(signal))
	rest, err := io.ReadAll(p.pipe)
	require.NoError(t, err)
	require.Empty(t, string(rest))
	require.NoError(t, p.Wait(), "status 0 after a signal")
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	for name, keys := range testsize.Some(1, map[string]bool{"efo": true, "polling": false, "multistream": true}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := kinesistest.New(t, kinesistest.Config{
				Listen:  "127.0.0.1:0",
				Streams: []kinesistest.StreamConfig{{Name: stream, Shards: 2, OnDemand: true, AutoDistribution: !keys}},
			})
			tables := httptest.NewServer(dynamotest.New(dynamotest.Config{}))
			t.Cleanup(tables.Close)
			env := environment(srv, tables)
			client := awstest.Kinesis(t, srv)
			binary := build(t, name)
			args := []string{"-stream", stream, "-application", "printer", "-worker", "w1"}

			put(t, client, keys, 0, 20)
			p := start(t, binary, env, args...)
			seen := make(map[string]bool)
			for range 20 {
				line := p.next(t)
				require.Equal(t, stream, line.Stream)
				require.Regexp(t, `^shardId-\d{12}$`, line.Shard)
				require.Regexp(t, `^\d{50,}$`, line.SequenceNumber)
				require.WithinDuration(t, time.Now(), line.ApproximateArrival, time.Minute)
				require.Equal(t, keys, line.PartitionKey != nil)
				require.False(t, seen[string(line.Data)], "%s is printed twice", line.Data)
				seen[string(line.Data)] = true
			}
			p.terminate(t, syscall.SIGTERM)

			put(t, client, keys, 20, 5)
			p = start(t, binary, env, args...)
			for range 5 {
				line := p.next(t)
				require.False(t, seen[string(line.Data)], "%s was checkpointed before", line.Data)
				seen[string(line.Data)] = true
			}
			p.terminate(t, os.Interrupt)
			require.Len(t, seen, 25)
		})
	}
}

func TestProgramMistakes(t *testing.T) {
	t.Parallel()
	binary := build(t, "polling")
	for name, test := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"help":  {[]string{"-h"}, 0, "usage: polling -stream NAME"},
		"flags": {[]string{"-stream", stream}, 2, "-application is missing"},
		"position": {
			[]string{"-stream", stream, "-application", "a", "-from", "tomorrow"},
			2,
			"use trim_horizon, latest or a time",
		},
		"region": {[]string{"-stream", stream, "-application", "a"}, 1, "no AWS region: set AWS_REGION"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), binary, test.args...)
			cmd.Env = []string{"HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true"}
			out, err := cmd.CombinedOutput()
			if test.status == 0 {
				require.NoError(t, err)
			} else {
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit)
				require.Equal(t, test.status, exit.ExitCode())
			}
			require.Contains(t, string(out), test.says)
		})
	}
}

func put(t *testing.T, client *kinesis.Client, keys bool, first, n int) {
	t.Helper()
	var entries []types.PutRecordsRequestEntry
	for i := range n {
		entry := types.PutRecordsRequestEntry{Data: fmt.Appendf(nil, "record %d", first+i)}
		if keys {
			entry.PartitionKey = aws.String(strconv.Itoa(i))
		}
		entries = append(entries, entry)
	}
	out, err := client.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: aws.String(stream), Records: entries})
	require.NoError(t, err)
	require.Zero(t, aws.ToInt32(out.FailedRecordCount))
}
