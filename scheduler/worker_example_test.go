package scheduler_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/scheduler"
)

// withFake completes the configuration of an example: with a fake Kinesis that has streams with one
// record each. The function that it returns stops the fake.
func withFake(cfg scheduler.Config, data []byte, streams ...string) (scheduler.Config, func()) {
	var list []kinesistest.StreamConfig
	for _, name := range streams {
		list = append(list, kinesistest.StreamConfig{Name: name, Shards: 1})
	}
	fake, err := kinesistest.Start(kinesistest.Config{Streams: list})
	if err != nil {
		panic(err)
	}
	for _, name := range streams {
		if _, _, err := fake.Put(name, "key", data); err != nil {
			panic(err)
		}
	}
	cfg.Application, cfg.WorkerID = "billing", "worker-1"
	cfg.Leases = memory.New()
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Kinesis = kinesis.New(kinesis.Options{
		Region: kinesistest.DefaultRegion, BaseEndpoint: aws.String(fake.URL()), HTTPClient: fake.HTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
	return cfg, fake.Close
}

// A signal ends the context of Run. Run then returns when every processor has written its last
// checkpoint and every lease is released, or after ShutdownTimeout.
func ExampleScheduler_Run() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	cfg, done := withFake(scheduler.Config{
		Streams:         []scheduler.StreamConfig{{Name: "orders"}},
		ShutdownTimeout: 20 * time.Second, // less than what the supervisor grants
	}, []byte("paid"), "orders")
	defer done()
	s := scheduler.New(cfg, func(kcl.StreamIdentifier, kcl.Shard) kcl.Processor {
		return &printer{seen: func(int) { stop() }} // instead of a signal
	})
	err := s.Run(ctx)
	fmt.Println("stopped:", err, s.Status().Phase)
	// Output:
	// key: paid
	// stopped: <nil> stopped
}

// The probe of a supervisor: 503 when the worker should be restarted, with the reason.
func ExampleScheduler_Healthy() {
	cfg, done := withFake(scheduler.Config{Streams: []scheduler.StreamConfig{{Name: "orders"}}}, []byte("paid"), "orders")
	defer done()
	ctx, cancel := context.WithCancel(context.Background())
	var probe http.HandlerFunc
	s := scheduler.New(cfg, func(kcl.StreamIdentifier, kcl.Shard) kcl.Processor {
		return &printer{seen: func(int) {
			fmt.Println(get(probe))
			cancel()
		}}
	})
	probe = func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}
	err := s.Run(ctx)
	fmt.Println(get(probe), err)
	// Output:
	// key: paid
	// 200
	// 503 <nil>
}

func get(h http.Handler) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	return w.Code
}

// The tracker is asked again and again: here the second stream is added once the first one has
// been read. A tracker may ask a database, or list the streams that have a tag. After an error
// the previous list is kept.
func ExampleStreamTracker() {
	var paid atomic.Bool
	cfg, done := withFake(scheduler.Config{
		StreamTracker: func(context.Context) ([]scheduler.StreamConfig, error) {
			if !paid.Load() {
				return []scheduler.StreamConfig{{Name: "orders"}}, nil
			}
			return []scheduler.StreamConfig{{Name: "orders"}, {Name: "bills"}}, nil
		},
		StreamRefreshInterval: time.Second,
	}, []byte("paid"), "orders", "bills")
	defer done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := scheduler.New(cfg, func(stream kcl.StreamIdentifier, _ kcl.Shard) kcl.Processor {
		fmt.Println("reads", stream.Name)
		return &printer{seen: func(int) {
			paid.Store(true)
			if stream.Name == "bills" {
				cancel()
			}
		}}
	})
	fmt.Println("stopped:", s.Run(ctx))
	// Output:
	// reads orders
	// key: paid
	// reads bills
	// key: paid
	// stopped: <nil>
}

// A decoder runs before the processor, once for each record. A record that it cannot decode comes
// as it is, and is counted.
func ExampleConfig_decoder() {
	var data bytes.Buffer
	zip := gzip.NewWriter(&data)
	_, _ = zip.Write([]byte("paid"))
	_ = zip.Close()
	cfg, done := withFake(scheduler.Config{
		Streams: []scheduler.StreamConfig{{Name: "orders"}},
		Decoder: kcl.DecoderFunc(gunzip),
	}, data.Bytes(), "orders")
	defer done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := scheduler.New(cfg, func(kcl.StreamIdentifier, kcl.Shard) kcl.Processor {
		return &printer{seen: func(int) { cancel() }}
	})
	fmt.Println("stopped:", s.Run(ctx))
	// Output:
	// key: paid
	// stopped: <nil>
}

func gunzip(_ context.Context, r kcl.Record) ([]byte, *kcl.Schema, error) {
	z, err := gzip.NewReader(bytes.NewReader(r.Data()))
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(z)
	return data, nil, err
}
