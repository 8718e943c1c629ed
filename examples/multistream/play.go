package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/processors"
	"github.com/kinesis-go/kcl/scheduler"
)

// script lists the events of the demonstration, and their times.
var script = []struct {
	at   time.Duration
	what string
	do   func(*stage) error
}{
	{0, "two workers start to read orders and bills", func(s *stage) error { return s.read("orders", "bills") }},
	{6 * time.Second, "stream notes is created and added", func(s *stage) error {
		return errors.Join(s.create("notes"), s.read("orders", "bills", "notes"))
	}},
	{
		12 * time.Second, "bills is removed: its shards are released",
		func(s *stage) error { return s.read("orders", "notes") },
	},
	{
		20 * time.Second, "bills comes back, and goes on where it was",
		func(s *stage) error { return s.read("orders", "bills", "notes") },
	},
}

const (
	produceFor   = 26 * time.Second
	produceEvery = 100 * time.Millisecond
	drainFor     = 30 * time.Second // the longest time for the remaining records
)

// stage is the demonstration: its server, leases, records and audit.
type stage struct {
	srv    *kinesistest.Server
	leases *memory.Store
	log    *slog.Logger

	mu   sync.Mutex     // guards the fields below
	list []string       // the streams to read
	sent map[string]int // how many records each stream has
	seen map[string]int // how often each record was processed
}

// play runs the script, and the audit at the end.
func play(ctx context.Context, out io.Writer, log *slog.Logger) error {
	srv, err := kinesistest.Start(kinesistest.Config{})
	if err != nil {
		return err
	}
	defer srv.Close()
	s := &stage{srv: srv, leases: memory.New(), log: log, sent: map[string]int{}, seen: map[string]int{}}
	if err := errors.Join(s.create("orders"), s.create("bills")); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	results := make([]error, 2)
	for i := range results {
		wg.Go(func() { results[i] = s.worker(fmt.Sprintf("worker-%d", i+1)).Run(ctx) }) // ends with ctx
	}
	began := time.Now()
	for i, step := range script {
		_, _ = fmt.Fprintf(out, "%3.0f s  %s\n", time.Since(began).Seconds(), step.what)
		if err := step.do(s); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		until := produceFor
		if i+1 < len(script) {
			until = script[i+1].at
		}
		for time.Since(began) < until {
			if err := s.produce(); err != nil {
				return fmt.Errorf("produce: %w", err)
			}
			if !sleep(ctx, produceEvery) {
				return nil // interrupted
			}
		}
	}
	for deadline := time.Now().Add(drainFor); !s.complete() && time.Now().Before(deadline) && sleep(ctx, produceEvery); {
	}
	cancel()
	wg.Wait()
	return errors.Join(results[0], results[1], s.audit(out))
}

// worker makes one worker of the fleet. A real worker is a process of its own, and asks a tracker
// of its own.
func (s *stage) worker(name string) *scheduler.Scheduler {
	return scheduler.New(scheduler.Config{
		Application:           "multistream",
		WorkerID:              name,
		StreamTracker:         s.track,
		StreamRefreshInterval: time.Second, // short, so that the demonstration is short
		Kinesis: kinesis.New(kinesis.Options{
			Region:       kinesistest.DefaultRegion,
			BaseEndpoint: aws.String(s.srv.URL()),
			HTTPClient:   s.srv.HTTPClientFrom(name),
			Credentials:  credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		}),
		Leases: s.leases,
		Logger: s.log,
	}, func(kcl.StreamIdentifier, kcl.Shard) kcl.Processor {
		return processors.Func(s.process, processors.FuncOptions{Logger: s.log})
	})
}

// track returns the streams to read now. It could ask a database, or list the streams with a tag.
func (s *stage) track(context.Context) ([]scheduler.StreamConfig, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return streams(s.list, kcl.InitialPosition{}), nil
}

// read changes the list of streams to read.
func (s *stage) read(names ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = names
	return nil
}

func (s *stage) create(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[name] = 0
	return s.srv.CreateStream(kinesistest.StreamConfig{Name: name, Shards: 2})
}

// produce writes a record to every stream, also to streams that are not read.
func (s *stage) produce() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, n := range s.sent {
		if _, _, err := s.srv.Put(name, fmt.Sprint(n), fmt.Appendf(nil, "%s %d", name, n)); err != nil {
			return err
		}
		s.sent[name]++
	}
	return nil
}

// process counts the records.
func (s *stage) process(_ context.Context, records []kcl.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.seen[string(r.Data())]++
	}
	return nil
}

func (s *stage) complete() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := 0
	for _, n := range s.sent {
		total += n
	}
	return len(s.seen) == total
}

// audit prints how many records were processed, and returns an error unless each was processed
// once.
func (s *stage) audit(out io.Writer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, again := map[string]int{}, 0
	for record, times := range s.seen {
		name, _, _ := strings.Cut(record, " ")
		seen[name]++
		again += times - 1
	}
	lost := 0
	for _, name := range slices.Sorted(maps.Keys(s.sent)) {
		_, _ = fmt.Fprintf(out, "%-8s %4d records written, %4d processed\n", name, s.sent[name], seen[name])
		lost += s.sent[name] - seen[name]
	}
	_, _ = fmt.Fprintf(out, "%d lost, %d processed twice\n", lost, again)
	if lost > 0 || again > 0 {
		return errors.New("not every record was processed exactly once")
	}
	return nil
}

// sleep waits for d. It returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
