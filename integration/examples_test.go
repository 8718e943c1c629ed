package integration

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"
)

// environment is what a user would set for local servers.
func environment(kinesisURL, dynamodbURL string) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_SESSION_TOKEN=", "AWS_PROFILE=", "AWS_REGION=" + region,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_ENDPOINT_URL=",
		"AWS_ENDPOINT_URL_KINESIS=" + kinesisURL, "AWS_ENDPOINT_URL_DYNAMODB=" + dynamodbURL,
	}
}

// runExample runs an example twice over one stream, with a SIGTERM in between and at the end,
// then kills a third run without warning. Over the two graceful runs every record is printed
// exactly once; a kill may repeat records but lose none.
func runExample(t *testing.T, name, kinesisURL, dynamodbURL string) {
	ctx := within(t, 3*time.Minute)
	client := kinesisClient(kinesisURL)
	stream, application, l := createStream(ctx, t, client, 2), unique("app"), newLedger()
	start := func(worker string) *process {
		return launch(t, environment(kinesisURL, dynamodbURL), name, "-stream", stream, "-application", application,
			"-worker", worker)
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
	require.Equal(t, []int{160, 0, 0}, []int{put, missing, duplicates},
		"every record once over two runs: put, missing, duplicates")

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

func TestKinesisFakeEndsCleanly(t *testing.T) {
	t.Parallel()
	// It runs with the suite, not with `make test`.
	endpoint(t, "KCL_DYNAMODB_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL")
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
	for _, name := range []string{"efo", "polling", "multistream"} {
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

// TestFrozenAndKilledProcesses stops one of two workers by SIGSTOP: the other takes its shards
// over, and when the frozen one wakes up it finds that they are no longer its own. Then the other
// is killed, and the first takes everything. Nothing is lost; records in flight may come twice.
func TestFrozenAndKilledProcesses(t *testing.T) {
	t.Parallel()
	store := dynamodbURL(t)
	ctx := within(t, 4*time.Minute)
	url := startFake(ctx, t)
	client := kinesisClient(url)
	stream, application, l := createStream(ctx, t, client, 4), unique("app"), newLedger()
	start := func(worker string) *process {
		return launch(t, environment(url, store), "efo", "-stream", stream, "-application", application, "-worker", worker)
	}
	first, second := start("first"), start("second")
	read := func() {
		first.read(t, l, "first", stream)
		second.read(t, l, "second", stream)
	}
	more := func() { l.produce(ctx, t, client, stream, 16, 1) }
	complete := func() bool { read(); return l.complete() }
	bothWork := func() {
		t.Helper()
		had := [2]int{l.recordsOf("first"), l.recordsOf("second")}
		until(ctx, t, l.String, func() bool {
			more()
			read()
			return l.recordsOf("first") > had[0] && l.recordsOf("second") > had[1]
		})
	}

	bothWork()
	require.NoError(t, first.cmd.Process.Signal(syscall.SIGSTOP))
	more()
	until(ctx, t, l.String, complete)
	require.NoError(t, first.cmd.Process.Signal(syscall.SIGCONT))
	bothWork()
	until(ctx, t, l.String, complete)

	require.Equal(t, -1, second.stop(ctx, t, syscall.SIGKILL))
	more()
	until(ctx, t, l.String, complete)
	require.Zero(t, first.stop(ctx, t, syscall.SIGTERM), "exit status after SIGTERM")
	read()
	require.True(t, l.complete())
	t.Log(l)
}
