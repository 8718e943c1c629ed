package integration

import (
	"context"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/polling"
)

// listing is the smallest lineage that answers: one ListShards for each question.
type listing struct {
	client *kinesis.Client
	stream string
}

func (l listing) Shard(ctx context.Context, id string) (shard kcl.Shard, children []kcl.ChildShard,
	ok bool, err error,
) {
	out, err := l.client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String(l.stream)})
	if err != nil {
		return kcl.Shard{}, nil, false, err
	}
	for _, s := range out.Shards {
		found := kcl.Shard{
			ID: aws.ToString(s.ShardId), ParentID: aws.ToString(s.ParentShardId),
			AdjacentParentID:     aws.ToString(s.AdjacentParentShardId),
			EndingSequenceNumber: aws.ToString(s.SequenceNumberRange.EndingSequenceNumber),
		}
		switch {
		case found.ID == id:
			shard, ok = found, true
		case found.ParentID == id || found.AdjacentParentID == id:
			children = append(children, kcl.ChildShard{ID: found.ID, Parents: found.Parents()})
		}
	}
	return shard, children, ok, nil
}

// runReader reads one shard from its first record through a split, by one of the two sources
// alone: every record once and in order, then the end with both children.
func runReader(t *testing.T, client *kinesis.Client,
	source func(ctx context.Context, t *testing.T, stream, arn string) iter.Seq2[kcl.Batch, error],
) {
	ctx := within(t, 2*time.Minute)
	stream, l := createStream(ctx, t, client, 1), newLedger()
	out, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(stream)})
	require.NoError(t, err)
	l.produce(ctx, t, client, stream, 4, 25)

	var children []kcl.ChildShard
	more := true
	for batch, err := range source(ctx, t, stream, aws.ToString(out.StreamDescriptionSummary.StreamARN)) {
		require.NoError(t, err)
		for _, record := range batch.Records {
			require.NoError(t, l.process("reader", "shard", record.SequenceNumber(), string(record.Data())))
		}
		if more && l.complete() {
			more = false
			l.produce(ctx, t, client, stream, 4, 5)
			split(ctx, t, client, stream)
		}
		if batch.End != nil {
			children = batch.End.Children
		}
	}
	l.settled(ctx, t)
	put, _, duplicates := l.counts()
	require.Equal(t, 120, put)
	require.Zero(t, duplicates)
	require.Len(t, children, 2)
	for _, child := range children {
		require.Equal(t, []string{"shardId-000000000000"}, child.Parents)
	}
}

func efoSource(
	client *kinesis.Client,
) func(ctx context.Context, t *testing.T, stream, arn string) iter.Seq2[kcl.Batch, error] {
	return func(ctx context.Context, t *testing.T, stream, arn string) iter.Seq2[kcl.Batch, error] {
		consumer, err := efo.Register(ctx, client,
			efo.RegisterConfig{StreamARN: arn, ConsumerName: "reader", Logger: logger(t)})
		require.NoError(t, err)
		return efo.NewSubscriber(efo.Config{
			Client: client, StreamARN: arn, ConsumerARN: consumer, Lineage: listing{client, stream},
			HTTPClient: efo.NewHTTPClient(client.Options().HTTPClient, efo.TransportConfig{}), Logger: logger(t),
		}).Batches(ctx, "shardId-000000000000", kcl.Position{Kind: kcl.TrimHorizon})
	}
}

func pollingSource(
	client *kinesis.Client,
) func(ctx context.Context, t *testing.T, stream, arn string) iter.Seq2[kcl.Batch, error] {
	return func(ctx context.Context, t *testing.T, stream, arn string) iter.Seq2[kcl.Batch, error] {
		return polling.NewFetcher(polling.Config{
			Client: client, StreamARN: arn, Lineage: listing{client, stream}, Logger: logger(t),
		}).Batches(ctx, "shardId-000000000000", kcl.Position{Kind: kcl.TrimHorizon})
	}
}

func logger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func TestReaders(t *testing.T) {
	t.Parallel()
	servers := map[string]func(t *testing.T) *kinesis.Client{
		"LocalStack":    func(t *testing.T) *kinesis.Client { return kinesisClient(localstackURL(t)) },
		"kinesis-local": func(t *testing.T) *kinesis.Client { return kinesislocalClient(kinesislocalURL(t)) },
	}
	for name, client := range servers {
		t.Run("efo on "+name, func(t *testing.T) {
			t.Parallel()
			client := client(t)
			runReader(t, client, efoSource(client))
		})
		t.Run("polling on "+name, func(t *testing.T) {
			t.Parallel()
			client := client(t)
			runReader(t, client, pollingSource(client))
		})
	}
}
