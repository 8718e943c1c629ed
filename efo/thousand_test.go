package efo_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
)

const (
	thousand = 1000

	// What a subscription may cost. The measured values are in doc.go.
	goroutinesEach = 6
	memoryEach     = 128 << 10 // heap and stacks, those of the fake's side included
)

// use is what a process uses.
type use struct {
	goroutines   int // those of servers left out
	heap, stacks uint64
}

func measure() use {
	runtime.GC()
	runtime.GC() // what finalizers and pools let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	buf := make([]byte, 64<<20)
	buf = buf[:runtime.Stack(buf, true)]
	u := use{heap: m.HeapAlloc, stacks: m.StackInuse}
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if !strings.Contains(g, "http2serverConn") && !strings.Contains(g, "kinesistest.") {
			u.goroutines++
		}
	}
	return u
}

// TestThousandSubscriptions measures what they cost. One of them has a loop body that does not come
// back and more waiting events than its window takes. It delays none of the 999 others.
func TestThousandSubscriptions(t *testing.T) {
	shards := testsize.Pick(130, thousand, thousand)
	synctest.Test(t, func(t *testing.T) {
		w, config, conns := manyShards(t, shards, 100)
		before := measure()
		release := make(chan struct{})
		var blocked atomic.Int32
		const waiting = 8 // of a MB each, in the shard that is not read
		data := bytes.Repeat([]byte{'x'}, 1<<20-1)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { // ends with ctx
			for b, err := range efo.NewSubscriber(config()).Batches(ctx, shardID(0), kcl.Position{}) {
				if err != nil {
					return
				}
				if blocked.Add(int32(len(b.Records))) > 0 {
					<-release
				}
			}
		})
		var mu sync.Mutex // guards got
		got := map[int][]time.Time{}
		for i := 1; i < shards; i++ {
			wg.Go(func() { // ends with ctx
				for b, err := range efo.NewSubscriber(config()).Batches(ctx, shardID(i), kcl.Position{}) {
					if err != nil {
						return
					}
					mu.Lock()
					for range b.Records {
						got[i] = append(got[i], time.Now())
					}
					mu.Unlock()
				}
			})
		}
		time.Sleep(20 * time.Second)
		require.Equal(t, shards, w.srv.Subscriptions())
		after := measure()
		goroutines := float64(after.goroutines-before.goroutines) / float64(shards)
		heap, stacks := (after.heap-before.heap)/uint64(shards), (after.stacks-before.stacks)/uint64(shards)
		t.Logf("a subscription: %.2f goroutines; %d bytes of heap and %d of stacks, the fake's included; %d connections",
			goroutines, heap, stacks, conns())
		require.LessOrEqual(t, goroutines, float64(goroutinesEach))
		require.Less(t, heap+stacks, uint64(memoryEach))
		require.Equal(t, (shards+63)/64, conns())

		for range waiting {
			_, err := w.srv.PutToShard("orders", shardID(0), "k", data)
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		const rounds = 5
		for round := range rounds {
			begin := time.Now()
			for i := 1; i < shards; i++ {
				_, err := w.srv.PutToShard("orders", shardID(i), "k", []byte("x"))
				require.NoError(t, err)
			}
			time.Sleep(2 * time.Second)
			mu.Lock()
			for i := 1; i < shards; i++ {
				require.Len(t, got[i], round+1, "shard %d", i)
				require.Less(t, got[i][round].Sub(begin), 200*time.Millisecond, "shard %d", i)
			}
			mu.Unlock()
		}
		require.Less(t, blocked.Load(), int32(waiting), "one body is still in its first batch")
		close(release)
		time.Sleep(time.Minute)
		require.Equal(t, int32(waiting), blocked.Load(), "and then it gets the rest")
	})
}

// serverVariable makes the test binary a server: a benchmark of what a process
// of subscribers uses needs it in another one.
const serverVariable = "EFO_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		serve()
		return
	}
	os.Exit(m.Run())
}

// serve is a fake with a thousand shards, until its standard input ends.
func serve() {
	srv, err := kinesistest.Start(kinesistest.Config{
		Streams: []kinesistest.StreamConfig{
			{Name: "orders", Shards: thousand},
		},
		Listen:               "127.0.0.1:0",
		TLS:                  true,
		MaxConcurrentStreams: 100,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer srv.Close()
	fmt.Println(srv.URL(), base64.StdEncoding.EncodeToString(srv.CertPEM()))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// startServer runs serve in a process of its own.
func startServer(tb testing.TB) (url string, cert []byte) {
	tb.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0])
	cmd.Env = append(os.Environ(), serverVariable+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(tb, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, cmd.Start())
	tb.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(tb, err)
	fields := strings.Fields(line)
	require.Len(tb, fields, 2)
	cert, err = base64.StdEncoding.DecodeString(fields[1])
	require.NoError(tb, err)
	return fields[0], cert
}

// BenchmarkThousandSubscriptions opens a thousand subscriptions to a server in
// another process, over TLS and HTTP/2, and says what one costs: to open, to
// keep, and for each empty event of five seconds. Time is that of opening them all.
func BenchmarkThousandSubscriptions(b *testing.B) {
	url, cert := startServer(b)
	pool := x509.NewCertPool()
	require.True(b, pool.AppendCertsFromPEM(cert))
	var dials atomic.Int32
	base := awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		dial := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return dial(ctx, network, addr)
		}
	})
	log := slog.New(slog.DiscardHandler)
	client := kinesis.New(kinesis.Options{
		Region:       "us-east-1",
		BaseEndpoint: &url,
		HTTPClient:   base,
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
	stream := "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
	var cost use
	var cpu, idle time.Duration
	passes := 0
	for b.Loop() {
		b.StopTimer()
		passes++
		arn, err := efo.Register(b.Context(), client,
			efo.RegisterConfig{StreamARN: stream, ConsumerName: fmt.Sprintf("c%d", passes), Logger: log})
		require.NoError(b, err)
		before, used := measure(), processTime()
		carrier := efo.NewHTTPClient(base, efo.TransportConfig{Logger: log})
		ctx, cancel := context.WithCancel(b.Context())
		var first, all sync.WaitGroup
		first.Add(thousand)
		b.StartTimer()
		for i := range thousand {
			all.Go(func() { // ends with ctx
				once := sync.OnceFunc(first.Done)
				sub := efo.NewSubscriber(
					efo.Config{
						Client:      client,
						HTTPClient:  carrier,
						StreamARN:   stream,
						ConsumerARN: arn,
						Logger:      log,
						Observer:    opened(once),
					},
				)
				for _, err := range sub.Batches(ctx, shardID(i), kcl.Position{}) {
					if err != nil {
						return
					}
				}
			})
		}
		first.Wait()
		b.StopTimer()
		cpu += processTime() - used
		time.Sleep(12 * time.Second) // two idle events each
		after := measure()
		cost.goroutines += after.goroutines - before.goroutines
		cost.heap += after.heap - before.heap
		cost.stacks += after.stacks - before.stacks
		used = processTime()
		time.Sleep(10 * time.Second)
		idle += processTime() - used
		cancel()
		all.Wait()
		carrier.(interface{ CloseIdleConnections() }).CloseIdleConnections()
		require.NoError(b, efo.Deregister(context.Background(), client, arn))
		b.StartTimer()
	}
	each := float64(passes * thousand)
	b.ReportMetric(float64(cost.goroutines)/each, "goroutines/sub")
	b.ReportMetric(float64(cost.heap)/each/1024, "heap-KiB/sub")
	b.ReportMetric(float64(cost.stacks)/each/1024, "stacks-KiB/sub")
	b.ReportMetric(float64(cpu.Microseconds())/each, "cpu-µs/open")
	b.ReportMetric(float64(idle.Microseconds())/each/2, "cpu-µs/event")
	b.ReportMetric(float64(dials.Load())/float64(passes), "dials")
}

// opened is an Observer that is told of subscriptions.
type opened func()

func (o opened) Opened()                     { o() }
func (opened) Received()                     {}
func (opened) Retrying(error, time.Duration) {}
