package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/memory"
)

// stage is the demonstration: its server, leases, workers, audit and table.
type stage struct {
	srv      *kinesistest.Server
	operator *kinesis.Client
	leases   *memory.Store
	workers  []*worker
	audit    *Audit
	table    *table
}

// script lists the events of the demonstration, and their times.
var script = []struct {
	at   time.Duration
	what string
	do   func(*stage, context.Context) error
}{
	{10 * time.Second, "shardId-000000000000 is split in two", (*stage).split},
	{20 * time.Second, "shardId-000000000002 and shardId-000000000003 are merged", (*stage).merge},
	{30 * time.Second, "worker-2 is killed without warning", (*stage).killWorker},
	{42 * time.Second, "worker-3 is stopped gracefully", (*stage).stopWorker},
}

const (
	produceFor = 52 * time.Second
	drainFor   = 30 * time.Second // the longest time for the remaining records
)

// play runs the whole demonstration.
func play(ctx context.Context, view *table, metricsOn net.Listener, log *slog.Logger) (Report, error) {
	srv, err := kinesistest.Start(kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: stream, Shards: 4}}})
	if err != nil {
		return Report{}, err
	}
	defer srv.Close()
	s := &stage{srv: srv, operator: newClient(srv, "operator"), leases: memory.New(), audit: NewAudit(), table: view}
	for _, name := range []string{"worker-1", "worker-2", "worker-3"} {
		w, err := newWorker(name, srv, s.leases, s.audit, log)
		if err != nil {
			return Report{}, err
		}
		s.workers = append(s.workers, w)
	}

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { serveMetrics(ctx, metricsOn, s.workers) }) // ends with ctx
	view.event("metrics on http://%s/metrics", metricsOn.Addr())
	wg.Go(func() { view.run(ctx, s) }) // ends with ctx
	view.event("three workers start to read stream %s, four shards, with enhanced fan-out", stream)
	for _, w := range s.workers {
		w.start(context.WithoutCancel(ctx)) // ends in stopAll
	}
	err = s.act(ctx)
	err = errors.Join(err, s.stopAll())
	cancel()
	wg.Wait()
	if err != nil {
		return Report{}, err
	}
	report := s.audit.Report()
	view.finish(s, report)
	return report, nil
}

// act produces records and follows the script. Then it waits until all records have been processed.
func (s *stage) act(ctx context.Context) error {
	producing, enough := context.WithTimeout(ctx, produceFor)
	defer enough()
	var wg sync.WaitGroup
	defer wg.Wait()
	var produceErr error
	wg.Go(func() { // ends with producing
		if produceErr = produce(producing, newClient(s.srv, "producer"), s.audit); produceErr != nil {
			enough()
		}
	})
	began := time.Now()
	for _, step := range script {
		if !sleep(producing, time.Until(began.Add(step.at))) {
			break
		}
		s.table.event("%s", step.what)
		if err := step.do(s, ctx); err != nil {
			enough()
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	wg.Wait() // until produceFor has passed
	if produceErr != nil {
		return fmt.Errorf("produce: %w", produceErr)
	}
	s.table.event("the producer has finished")
	for deadline := time.Now().Add(drainFor); !s.audit.Complete() && time.Now().Before(deadline); {
		if !sleep(ctx, 100*time.Millisecond) {
			break
		}
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return nil
}

func (s *stage) split(ctx context.Context) error {
	shard, err := s.shard(ctx, "shardId-000000000000")
	if err != nil {
		return err
	}
	start, _ := new(big.Int).SetString(*shard.HashKeyRange.StartingHashKey, 10)
	end, _ := new(big.Int).SetString(*shard.HashKeyRange.EndingHashKey, 10)
	middle := start.Add(start, end)
	middle.Rsh(middle, 1)
	_, err = s.operator.SplitShard(ctx, &kinesis.SplitShardInput{
		StreamName: aws.String(stream), ShardToSplit: shard.ShardId, NewStartingHashKey: aws.String(middle.String()),
	})
	return err
}

func (s *stage) merge(ctx context.Context) error {
	_, err := s.operator.MergeShards(ctx, &kinesis.MergeShardsInput{
		StreamName: aws.String(stream), ShardToMerge: aws.String("shardId-000000000002"),
		AdjacentShardToMerge: aws.String("shardId-000000000003"),
	})
	return err
}

func (s *stage) killWorker(context.Context) error {
	s.workers[1].kill(s.srv, s.audit)
	return nil
}

func (s *stage) stopWorker(context.Context) error { return s.workers[2].stop() }

// stopAll stops every worker. It ignores the errors of a killed worker.
func (s *stage) stopAll() error {
	var errs []error
	for _, w := range s.workers {
		if err := w.stop(); err != nil && w.state() != "killed" {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *stage) shard(ctx context.Context, id string) (types.Shard, error) {
	out, err := s.operator.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String(stream)})
	if err != nil {
		return types.Shard{}, err
	}
	for _, shard := range out.Shards {
		if *shard.ShardId == id {
			return shard, nil
		}
	}
	return types.Shard{}, fmt.Errorf("there is no %s", id)
}

// sleep waits for d. It returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
