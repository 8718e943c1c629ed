package scheduler_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/scheduler"
)

// registry decodes data that begin with "v1:", fails at those with "bad:" and panics at those with
// "panic:".
func registry(calls *atomic.Int64) kcl.Decoder {
	schema := &kcl.Schema{Name: "order", Format: "JSON", Definition: "{}", Version: "1"}
	return kcl.DecoderFunc(func(_ context.Context, r kcl.Record) ([]byte, *kcl.Schema, error) {
		calls.Add(1)
		switch data := r.Data(); {
		case bytes.HasPrefix(data, []byte("v1:")):
			return data[3:], schema, nil
		case bytes.HasPrefix(data, []byte("bad:")):
			return []byte("half"), schema, errors.New("no such schema")
		case bytes.HasPrefix(data, []byte("panic:")):
			panic("no such luck")
		}
		return nil, nil, nil
	})
}

// Records are decoded one by one, plain or out of an aggregate; one that cannot be comes as it is,
// and costs no neighbour.
func TestDecoder(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		var calls atomic.Int64
		numbers := &counts{of: map[string]float64{}}
		log := r.capture()
		w := r.worker("a", mode, func(c *scheduler.Config) { c.Decoder, c.Metrics = registry(&calls), metrics.New(numbers) })
		failed := false
		got := w.collect(func(ctx context.Context, in kcl.ProcessRecordsInput) error {
			if !failed {
				failed = true
				return errors.New("once more")
			}
			return in.Checkpointer.Checkpoint(ctx)
		})
		r.putRaw([]byte("v1:one"))
		r.putRaw([]byte("raw"))
		r.putRaw([]byte("bad:two"))
		aggregate := r.putRaw(pack(t, []string{"v1:three", "panic:four", "v1:five", "plain"}))
		r.putRaw([]byte("v1:six"))
		w.start()
		r.eventually(time.Minute, "the last record", func() bool { return got.last() == "six" })
		r.eventually(time.Minute, "the checkpoint", func() bool { return !r.row(r.open()[0]).Checkpoint.IsSentinel() })
		require.NoError(t, w.stop())

		const suffix = "bad:two three panic:four five plain six"
		text := got.text()
		require.True(t, strings.HasPrefix(text, "one raw "), text)
		require.True(t, strings.HasSuffix(text, suffix), text)
		require.EqualValues(t, 8, calls.Load(), "a record that is delivered again is not decoded again")
		require.Equal(t, 2, numbers.get(metrics.DecodeErrors))
		require.Equal(t, 1, log.count("record cannot be decoded"), "not for every record")
		require.Zero(t, log.count("bad:two"), "a record's content in the log")
		for _, rec := range got.records {
			decoded := !bytes.ContainsAny(rec.Data(), ":") && string(rec.Data()) != "raw" && string(rec.Data()) != "plain"
			require.Equal(t, decoded, rec.Schema() != nil, "%s", rec.Data())
			if decoded {
				require.Equal(t, kcl.Schema{Name: "order", Format: "JSON", Definition: "{}", Version: "1"}, *rec.Schema())
			}
			key, ok := rec.PartitionKey()
			require.True(t, ok)
			require.Equal(t, "key", key)
			require.False(t, rec.ApproximateArrival().IsZero())
			if string(rec.Data()) == "five" {
				require.Equal(t, kcl.ExtendedSequenceNumber{SequenceNumber: aggregate, SubSequenceNumber: 2}, rec.Position())
				require.True(t, rec.Aggregated())
			}
		}
	})
}

// What lies before the checkpoint is not decoded.
func TestDecoderAfterResume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		r.putRaw(pack(t, []string{"v1:a", "v1:b", "v1:c"}))
		first := r.worker("a")
		first.do = func(ctx context.Context, _ *processor, in kcl.ProcessRecordsInput) error {
			return in.Checkpointer.CheckpointAt(ctx, in.Records[1].Position())
		}
		first.shutdown = func(context.Context, *processor, kcl.ShutdownRequestedInput) error { return nil }
		first.start()
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, r.row(r.open()[0]).Checkpoint.SubSequenceNumber)
		require.NoError(t, first.stop())
		var calls atomic.Int64
		w := r.worker("b", func(c *scheduler.Config) { c.Decoder = registry(&calls) })
		got := w.collect(nothing)
		w.start()
		r.eventually(time.Minute, "the rest", func() bool { return got.text() == "c" })
		require.EqualValues(t, 1, calls.Load())
		require.NoError(t, w.stop())
	})
}

// A decoder that does not return is named, and ends with the lease.
func TestDecoderHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", func(c *scheduler.Config) {
			c.ShutdownTimeout = time.Second
			c.Decoder = kcl.DecoderFunc(func(ctx context.Context, _ kcl.Record) ([]byte, *kcl.Schema, error) {
				<-ctx.Done()
				return nil, nil, context.Cause(ctx)
			})
		})
		got := w.collect(everything)
		w.start()
		r.putRaw([]byte("x"))
		r.eventually(5*time.Minute, "red", func() bool { return len(w.stalls()) > 0 })
		require.Equal(t, scheduler.LayerDecoder, w.stalls()[0].Layer)
		require.ErrorContains(t, w.stalls()[0], "the Decoder has not returned")
		w.cancel()
		<-w.done
		require.Empty(t, got.text())
	})
}
