package checkpoint_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
)

// fuzzWriter is a table that keeps a checkpoint. Some writes fail, before or after they took
// effect.
type fuzzWriter struct {
	failure byte // 0 for none, 1 before, 2 after
	stored  kcl.ExtendedSequenceNumber
	pending kcl.ExtendedSequenceNumber
}

var errFuzz = errors.New("the table fails")

func (w *fuzzWriter) write(to *kcl.ExtendedSequenceNumber, pos kcl.ExtendedSequenceNumber) error {
	if w.failure != 1 {
		*to = pos
	}
	if w.failure != 0 {
		return errFuzz
	}
	return nil
}

func (w *fuzzWriter) Checkpoint(_ context.Context, pos kcl.ExtendedSequenceNumber) error {
	return w.write(&w.stored, pos)
}

func (w *fuzzWriter) Prepare(_ context.Context, pos kcl.ExtendedSequenceNumber, _ []byte) error {
	return w.write(&w.pending, pos)
}

// FuzzOperations: whatever a processor does, the checkpoint in the table never goes back, never
// passes the last record delivered, and stays after SHARD_END. Each operation is two bytes.
func FuzzOperations(f *testing.F) {
	f.Add([]byte{0, 5, 2, 0, 0, 9, 1, 7, 1, 6, 3, 9, 5, 0})
	f.Add([]byte{0, 5, 34, 0, 0, 3, 4, 0, 2, 0, 66, 0, 5, 0, 37, 0, 1, 5})
	f.Fuzz(func(t *testing.T, script []byte) {
		w := &fuzzWriter{stored: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon}}
		c := checkpoint.New(w, w.stored, nil)
		delivered := w.stored
		ctx := t.Context()
		for ; len(script) >= 2; script = script[2:] {
			before, ended := w.stored, w.stored.IsShardEnd()
			pos := kcl.ExtendedSequenceNumber{
				SequenceNumber: strconv.Itoa(int(script[1] >> 2)), SubSequenceNumber: int64(script[1] & 3),
			}
			w.failure = script[0] >> 5 % 3
			var err error
			switch script[0] & 31 % 6 {
			case 0:
				c.Delivered(pos)
				if pos.Compare(delivered) > 0 {
					delivered = pos
				}
			case 1:
				err = c.CheckpointAt(ctx, pos)
			case 2:
				err = c.Checkpoint(ctx)
			case 3:
				var p kcl.PreparedCheckpointer
				if p, err = c.Prepare(ctx, pos, script[:1]); err == nil {
					err = p.Commit(ctx)
				}
			case 4:
				c.Failed()
			case 5:
				err = c.End(ctx)
			}
			switch r := c.Report(); {
			case w.stored.Compare(before) < 0 || (ended && !w.stored.IsShardEnd()):
				t.Fatalf("the checkpoint goes back from %v to %v", before, w.stored)
			case !w.stored.IsShardEnd() && w.stored.Compare(delivered) > 0:
				t.Fatalf("the checkpoint %v passes the last record %v", w.stored, delivered)
			case w.pending.Compare(delivered) > 0:
				t.Fatalf("the pending checkpoint %v passes the last record %v", w.pending, delivered)
			case r.Last.Compare(w.stored) > 0:
				t.Fatalf("%v is reported, and %v is in the table", r.Last, w.stored)
			case err != nil && !errors.Is(err, errFuzz) && !errors.Is(err, kcl.ErrInvalidCheckpoint):
				t.Fatal(err)
			}
		}
	})
}
