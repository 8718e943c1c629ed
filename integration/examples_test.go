package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"
)

var bin string // where build puts the mains; removed by TestMain

// build makes the mains once for all tests.
var build = sync.OnceValue(func() (err error) {
	if bin, err = os.MkdirTemp("", "kcl-integration-"); err != nil {
		return err
	}
	out, err := exec.Command("go", "build", "-o", bin, "../examples/efo", "../examples/polling", "../cmd/kinesisfake").CombinedOutput()
	if err != nil {
		return errors.New(string(out))
	}
	return nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin != "" {
		_ = os.RemoveAll(bin)
	}
	os.Exit(code)
}

// process is a main of ours that runs for a test. Its standard error goes to the test's log.
type process struct {
	cmd    *exec.Cmd
	lines  chan string   // its standard output, closed at its end
	exited chan struct{} // closed when it has been waited for
}

func launch(t *testing.T, environment []string, name string, arguments ...string) *process {
	t.Helper()
	require.NoError(t, build())
	p := &process{cmd: exec.Command(filepath.Join(bin, name), arguments...), lines: make(chan string, 100000), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stderr = t.Output()
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() { // ends with the process
		defer close(p.exited)
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, 4<<20)
		for scanner.Scan() {
			p.lines <- scanner.Text()
		}
		_, _ = io.Copy(io.Discard, stdout)
		close(p.lines)
		_ = p.cmd.Wait() // the state is read from cmd
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // an error says that it has ended
		<-p.exited
	})
	return p
}

// stop sends the signal and returns the exit status, -1 when the signal ended it.
func (p *process) stop(ctx context.Context, t *testing.T, signal syscall.Signal) int {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(signal))
	select {
	case <-p.exited:
	case <-ctx.Done():
		require.FailNow(t, "still running after "+signal.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// line is what the examples print for a record.
type line struct {
	Stream            string    `json:"stream"`
	Shard             string    `json:"shard"`
	SequenceNumber    string    `json:"sequenceNumber"`
	SubSequenceNumber int64     `json:"subSequenceNumber"`
	PartitionKey      *string   `json:"partitionKey"`
	Arrival           time.Time `json:"approximateArrival"`
	Data              []byte    `json:"data"`
}

// read notes everything that the process has printed so far in the ledger, under its name.
func (p *process) read(t *testing.T, l *ledger, worker, stream string) {
	t.Helper()
	for {
		select {
		case text, ok := <-p.lines:
			if !ok {
				return
			}
			var record line
			require.NoError(t, json.Unmarshal([]byte(text), &record), "standard output holds JSON only: %q", text)
			require.Equal(t, stream, record.Stream)
			require.NotEmpty(t, record.SequenceNumber)
			require.NotNil(t, record.PartitionKey)
			require.True(t, strings.HasPrefix(string(record.Data), *record.PartitionKey+" "), text)
			require.WithinDuration(t, time.Now(), record.Arrival, time.Hour)
			require.NoError(t, l.process(worker, record.Shard, string(record.Data)))
		default:
			return
		}
	}
}

// runExample runs an example twice over one stream, with a SIGTERM in between and at the end,
// then kills a third run without warning. Over the two graceful runs every record is printed
// exactly once; a kill may repeat records but lose none.
func runExample(t *testing.T, name, kinesisURL, dynamodbURL string) {
	ctx := within(t, 3*time.Minute)
	client := kinesisClient(kinesisURL)
	stream, application, l := createStream(ctx, t, client, 2), unique("app"), newLedger()
	environment := []string{
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_SESSION_TOKEN=", "AWS_PROFILE=", "AWS_REGION=" + region,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_ENDPOINT_URL=",
		"AWS_ENDPOINT_URL_KINESIS=" + kinesisURL, "AWS_ENDPOINT_URL_DYNAMODB=" + dynamodbURL,
	}
	start := func(worker string) *process {
		return launch(t, environment, name, "-stream", stream, "-application", application, "-worker", worker)
	}
	finish := func(p *process, worker string) {
		until(ctx, t, l.String, func() bool { p.read(t, l, worker, stream); return l.complete() })
	}

	l.produce(ctx, t, client, stream, 8, 10)
	first := start("first")
	finish(first, "first")
	require.Zero(t, first.stop(ctx, t, syscall.SIGTERM), "exit status after SIGTERM")
	first.read(t, l, "first", stream)

	l.produce(ctx, t, client, stream, 8, 10)
	second := start("second")
	finish(second, "second")
	require.Zero(t, second.stop(ctx, t, syscall.SIGTERM), "exit status after SIGTERM")
	second.read(t, l, "second", stream)
	put, missing, duplicates := l.counts()
	require.Equal(t, []int{160, 0, 0}, []int{put, missing, duplicates}, "every record once over two runs: put, missing, duplicates")

	l.produce(ctx, t, client, stream, 8, 10)
	third := start("third")
	until(ctx, t, l.String, func() bool { third.read(t, l, "third", stream); return l.recordsOf("third") > 0 })
	require.Equal(t, -1, third.stop(ctx, t, syscall.SIGKILL))
	third.read(t, l, "third", stream)
	l.produce(ctx, t, client, stream, 8, 10)
	fourth := start("fourth")
	finish(fourth, "fourth")
	require.Zero(t, fourth.stop(ctx, t, syscall.SIGTERM), "exit status after SIGTERM")
	fourth.read(t, l, "fourth", stream)
	l.settled(ctx, t)
	t.Log(l)
}

// startFake runs cmd/kinesisfake on a free port.
func startFake(ctx context.Context, t *testing.T) (url string) {
	t.Helper()
	fake := launch(t, nil, "kinesisfake", "-listen", "127.0.0.1:0")
	select {
	case text := <-fake.lines:
		url, ok := strings.CutPrefix(text, "listening on ")
		require.True(t, ok, "first line of kinesisfake: %q", text)
		return url
	case <-ctx.Done():
		require.FailNow(t, "kinesisfake did not say where it listens")
		return ""
	}
}

func TestKinesisFakeEndsCleanly(t *testing.T) {
	t.Parallel()
	endpoint(t, "KCL_DYNAMODB_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL") // with the suite, not with `make test`
	ctx := within(t, time.Minute)
	fake := launch(t, nil, "kinesisfake", "-listen", "127.0.0.1:0", "-stream", "orders:3")
	text := <-fake.lines
	url, ok := strings.CutPrefix(text, "listening on ")
	require.True(t, ok, text)
	shards := openShards(ctx, t, kinesisClient(url, func(o *kinesis.Options) { o.HTTPClient = h2c() }), "orders")
	require.Len(t, shards, 3)
	require.Zero(t, fake.stop(ctx, t, syscall.SIGTERM))
}

func TestExamples(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"efo", "polling"} {
		t.Run(name+" on LocalStack", func(t *testing.T) {
			t.Parallel()
			url := localstackURL(t)
			runExample(t, name, url, url)
		})
		t.Run(name+" on kinesisfake and DynamoDB Local", func(t *testing.T) {
			t.Parallel()
			store := dynamodbURL(t)
			runExample(t, name, startFake(within(t, time.Minute), t), store)
		})
	}
}
