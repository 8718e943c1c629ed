package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"iter"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/polling"
)

// source reads a shard; *efo.Subscriber and *polling.Fetcher are two.
type source interface {
	Batches(ctx context.Context, shardID string, from kcl.Position) iter.Seq2[kcl.Batch, error]
}

// newSource is the one place that chooses how a shard is read.
func (s *Scheduler) newSource(st *stream, p *progress, m *metrics.Shard, owned func() bool, shardID string) source {
	m.SetFanOut(s.cfg.RetrievalMode == EFO)
	if s.cfg.RetrievalMode == Polling {
		return s.newFetcher(st, p, m)
	}
	return s.newFallback(st, p, m, owned, shardID)
}

func (s *Scheduler) newFetcher(st *stream, o kcl.ReadObserver, m *metrics.Shard) *polling.Fetcher {
	return polling.NewFetcher(polling.Config{
		Client:    s.cfg.Kinesis,
		StreamARN: st.id.ARN,
		Lineage:   st.lineage,
		Memory:    s.memory,
		Metrics:   m,
		Observer:  o,
		Logger:    s.log, // both add stream and shard
	})
}

func (s *Scheduler) newSubscriber(st *stream, consumerARN string, o kcl.ReadObserver, m *metrics.Shard, owned func() bool) *efo.Subscriber {
	return efo.NewSubscriber(efo.Config{
		Client:      s.cfg.Kinesis,
		HTTPClient:  s.http,
		StreamARN:   st.id.ARN,
		ConsumerARN: consumerARN,
		Lineage:     st.lineage,
		Lookups:     st.lookups,
		Owned:       owned,
		Metrics:     m,
		Observer:    o,
		Logger:      s.log,
	})
}

// registerNow finds or makes the stream consumer, unless its ARN was given.
func (s *Scheduler) registerNow(ctx context.Context, st *stream) error {
	if arn := st.cfg.ConsumerARN; arn != "" {
		if owner, _, err := kcl.ParseConsumerARN(arn); err != nil || owner != st.id.ARN {
			return fmt.Errorf("%w: %s: ConsumerARN %s is not a consumer of %s: leave it out, or give the ARN of one of this stream's consumers", kcl.ErrInvalidStream, st.where, arn, st.id.ARN)
		}
		st.setConsumer(arn)
		return nil
	}
	name := cmp.Or(st.cfg.ConsumerName, s.cfg.Application)
	arn, err := efo.Register(ctx, s.cfg.Kinesis, efo.RegisterConfig{StreamARN: st.id.ARN, ConsumerName: name, Application: s.cfg.Application, Trusted: !s.checksTag, Logger: s.log})
	if err != nil {
		return err
	}
	st.setConsumer(arn)
	return nil
}
