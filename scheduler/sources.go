package scheduler

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/polling"
)

// source reads a shard, by fan-out (*efo.Subscriber) or by polling (*polling.Fetcher).
type source interface {
	Batches(ctx context.Context, shardID string, from kcl.Position) iter.Seq2[kcl.Batch, error]
}

// sources makes the sources of shards.
type sources struct {
	client        *kinesis.Client
	http          aws.HTTPClient // carries the subscriptions of enhanced fan-out
	memory        *polling.Memory
	idle          time.Duration // between two reads by polling at the tip
	mode          RetrievalMode
	fallback      Fallback
	fallbackAfter time.Duration
	log           *slog.Logger
}

// open returns the source of a shard, and so chooses how the shard is read.
func (s *sources) open(st *stream, p *progress, m *metrics.Shard, owned func() bool, shardID string) source {
	m.SetFanOut(s.mode == EFO)
	if s.mode == Polling {
		return s.fetcher(st, p, m)
	}
	return newFallback(s, st, p, m, owned, shardID)
}

func (s *sources) fetcher(st *stream, o kcl.ReadObserver, m *metrics.Shard) *polling.Fetcher {
	return polling.NewFetcher(polling.Config{
		Client: s.client, StreamARN: st.id.ARN, Lineage: st.lineage, Memory: s.memory, IdleInterval: s.idle,
		Metrics: m, Observer: o, Logger: s.log, // fetchers and subscribers add stream and shard
	})
}

func (s *sources) subscriber(
	st *stream, consumerARN string, o kcl.ReadObserver, m *metrics.Shard, owned func() bool,
) *efo.Subscriber {
	return efo.NewSubscriber(efo.Config{
		Client: s.client, HTTPClient: s.http, StreamARN: st.id.ARN, ConsumerARN: consumerARN, Lineage: st.lineage,
		Lookups: st.lookups, Owned: owned, Metrics: m, Observer: o, Logger: s.log,
	})
}
