package scheduler_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/scheduler"
)

// TestRecordsAreWhole: everything that the service and the producer say of a record and of a batch
// reaches the processor, in both modes.
func TestRecordsAreWhole(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		shard := r.open()[0]

		put := func(data string) (string, time.Time) {
			out, err := r.admin.PutRecord(t.Context(), &kinesis.PutRecordInput{
				StreamName:   aws.String(streamName),
				PartitionKey: aws.String("plain key"), Data: []byte(data),
			})
			require.NoError(t, err)
			return *out.SequenceNumber, time.Now()
		}
		firstSeq, firstAt := put("first")
		time.Sleep(time.Second)
		aggregateSeq := r.putRaw(pack(t, []string{"with hash", "without"}, "12345"))
		aggregateAt := time.Now()
		// A backlog that one batch cannot bring.
		for range 12 {
			put("backlog" + strings.Repeat(".", 900<<10))
			time.Sleep(time.Second)
		}
		_, err := r.admin.StartStreamEncryption(t.Context(),
			&kinesis.StartStreamEncryptionInput{
				StreamName: aws.String(streamName), EncryptionType: types.EncryptionTypeKms,
				KeyId: aws.String("alias/aws/kinesis"),
			})
		require.NoError(t, err)
		r.active()
		lastSeq, lastAt := put("encrypted")
		left, right := r.split(shard)

		var mu sync.Mutex
		var batches []kcl.ProcessRecordsInput
		var ended []kcl.ChildShard
		w := r.worker("a", mode)
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			if p.shard.ID != shard {
				return nil
			}
			mu.Lock()
			batches = append(batches, in)
			mu.Unlock()
			require.Equal(t, time.Now(), in.DeliveredAt)
			time.Sleep(time.Second)
			return in.Checkpointer.Checkpoint(ctx)
		}
		w.shardEnded = func(_ context.Context, p *processor, in kcl.ShardEndedInput) error {
			mu.Lock()
			defer mu.Unlock()
			if p.shard.ID == shard {
				ended = in.Children
			}
			return nil
		}
		began := time.Now()
		w.start()
		r.eventually(time.Minute, "the shard's end", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return ended != nil
		})
		require.NoError(t, w.stop())

		byData := map[string]kcl.Record{}
		for i, in := range batches {
			require.NotEmpty(t, in.Records)
			require.NotNil(t, in.Checkpointer)
			require.False(t, in.ReceivedAt.Before(began))
			require.False(t, in.DeliveredAt.Before(in.ReceivedAt))
			if i > 0 {
				require.LessOrEqual(t, in.BehindLatest, batches[i-1].BehindLatest)
			}
			for _, rec := range in.Records {
				name, _, _ := strings.Cut(string(rec.Data()), ".")
				byData[name] = rec
			}
		}
		require.Greater(t, len(batches), 1)
		require.Greater(t, batches[0].BehindLatest, time.Second, "millisBehindLatest of a batch far from the tip")
		require.Zero(t, batches[len(batches)-1].BehindLatest)

		first := byData["first"]
		require.Equal(t, kcl.ExtendedSequenceNumber{SequenceNumber: firstSeq}, first.Position())
		require.WithinDuration(t, firstAt, first.ApproximateArrival(), 10*time.Millisecond)
		key, ok := first.PartitionKey()
		require.True(t, ok)
		require.Equal(t, "plain key", key)
		_, ok = first.ExplicitHashKey()
		require.False(t, ok, "the service does not tell it of records that were not aggregated")
		require.False(t, first.Aggregated())
		require.NotEqual(t, kcl.EncryptionKMS, first.EncryptionType())

		for sub, name := range []string{"with hash", "without"} {
			rec := byData[name]
			require.Equal(t, kcl.ExtendedSequenceNumber{SequenceNumber: aggregateSeq, SubSequenceNumber: int64(sub)},
				rec.Position())
			require.True(t, rec.Aggregated())
			require.WithinDuration(t, aggregateAt, rec.ApproximateArrival(), 10*time.Millisecond)
			hash, ok := rec.ExplicitHashKey()
			require.Equal(t, name == "with hash", ok)
			require.Equal(t, map[bool]string{true: "12345"}[ok], hash)
		}

		last := byData["encrypted"]
		require.Equal(t, lastSeq, last.SequenceNumber())
		require.WithinDuration(t, lastAt, last.ApproximateArrival(), 10*time.Millisecond)
		require.Equal(t, kcl.EncryptionKMS, last.EncryptionType())

		require.Len(t, ended, 2)
		require.ElementsMatch(t, []string{left, right}, []string{ended[0].ID, ended[1].ID})
		for _, child := range ended {
			require.Equal(t, []string{shard}, child.Parents)
			require.NoError(t, child.HashKeyRange.Validate())
		}
		for i, in := range batches {
			require.Equal(t, i == len(batches)-1 && in.AtShardEnd, in.AtShardEnd, "only the last batch can be at the end")
			if in.AtShardEnd {
				require.Equal(t, ended, in.Children)
			} else {
				require.Nil(t, in.Children)
			}
		}
	})
}
