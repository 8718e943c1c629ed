package scheduler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/scheduler"
)

// commas makes a record of each word between commas, and fails at "bad", panics at "panic" and at
// too many.
func commas(_ context.Context, r kcl.Record) ([]kcl.Decoded, error) {
	switch string(r.Data()) {
	case "plain":
		return nil, nil
	case "bad,one":
		return []kcl.Decoded{{Data: []byte("half")}}, errors.New("no such luck")
	case "panic,one":
		panic("no such luck")
	case "too,many":
		return make([]kcl.Decoded, kcl.MaxSplit+1), nil
	}
	var out []kcl.Decoded
	for part := range bytes.SplitSeq(r.Data(), []byte(",")) {
		out = append(out, kcl.Decoded{Data: part})
	}
	return out, nil
}

// Data that a Decoder returns without a schema were discarded without a word: compressed records
// came compressed.
func TestDecoderWithoutASchema(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", mode, func(c *scheduler.Config) {
			c.Decoder = kcl.DecoderFunc(func(_ context.Context, r kcl.Record) ([]byte, *kcl.Schema, error) {
				switch data := string(r.Data()); data {
				case "plain":
					return nil, nil, nil
				case "nothing":
					return []byte{}, nil, nil
				case "bad":
					return []byte("half"), nil, errors.New("no such luck")
				default:
					return bytes.ToUpper(r.Data()), nil, nil
				}
			})
		})
		got := w.collect(everything)
		r.putRaw([]byte("a"))
		r.putRaw([]byte("plain"))
		r.putRaw([]byte("bad"))
		r.putRaw([]byte("nothing"))
		r.putRaw(pack(t, []string{"b", "plain", "c"}))
		w.start()
		r.eventually(time.Minute, "all", func() bool { return got.text() == "A plain bad  B plain C" })
		require.NoError(t, w.stop())
	})
}

// The parts are numbered as the user records of an aggregate, in ascending order, whatever fails.
func TestSplitter(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", mode, func(c *scheduler.Config) { c.Decoder = kcl.SplitterFunc(commas) })
		got := w.collect(everything)
		first := r.putRaw([]byte("a,b,c"))
		r.putRaw([]byte("plain"))
		r.putRaw([]byte("bad,one"))
		r.putRaw([]byte("panic,one"))
		r.putRaw([]byte("too,many"))
		aggregate := r.putRaw(pack(t, []string{"d,e", "bad,one", "f", "g,h,i"}))
		w.start()
		const want = "a b c plain bad,one panic,one too,many d e bad,one f g h i"
		r.eventually(time.Minute, "all", func() bool { return got.text() == want })
		require.NoError(t, w.stop())
		require.True(t,
			slices.IsSortedFunc(got.records, func(a, b kcl.Record) int { return a.Position().Compare(b.Position()) }))
		positions := map[string]kcl.ExtendedSequenceNumber{}
		for _, rec := range got.records {
			positions[string(rec.Data())] = rec.Position()
			key, _ := rec.PartitionKey()
			require.Equal(t, "key", key)
		}
		require.Equal(t, kcl.ExtendedSequenceNumber{SequenceNumber: first, SubSequenceNumber: 2}, positions["c"])
		require.Equal(t, kcl.ExtendedSequenceNumber{SequenceNumber: aggregate, SubSequenceNumber: 1}, positions["e"])
		require.Equal(t, kcl.ExtendedSequenceNumber{SequenceNumber: aggregate, SubSequenceNumber: 3*kcl.MaxSplit + 2},
			positions["i"])
	})
}

// A checkpoint after any part is where the next worker goes on: nothing is left out, nothing
// repeated.
func TestCheckpointBetweenParts(t *testing.T) {
	t.Parallel()
	for _, aggregates := range []scheduler.Aggregates{scheduler.SplitAggregates, scheduler.KeepAggregates} {
		t.Run(aggregates.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				configure := func(c *scheduler.Config) {
					c.Decoder, c.Aggregates = kcl.SplitterFunc(commas), aggregates
				}
				total := 6
				r.putRaw([]byte("1,2,3"))
				if aggregates == scheduler.SplitAggregates {
					total = 11
					r.putRaw(pack(t, []string{"4,5", "plain", "6,7"}))
				}
				r.putRaw([]byte("8"))
				r.putRaw([]byte("9,10"))
				var seen []string
				for i := range total {
					// Each worker gets as much as there is and checkpoints one record.
					w := r.worker(fmt.Sprint("w", i), configure)
					var mu sync.Mutex // guards got
					var got []string
					w.do = func(ctx context.Context, _ *processor, in kcl.ProcessRecordsInput) error {
						mu.Lock()
						defer mu.Unlock()
						if got == nil {
							if err := in.Checkpointer.CheckpointAt(ctx, in.Records[0].Position()); err != nil {
								return err
							}
						}
						for _, rec := range in.Records {
							got = append(got, string(rec.Data()))
						}
						return nil
					}
					w.shutdown = func(context.Context, *processor, kcl.ShutdownRequestedInput) error { return nil }
					w.start()
					r.eventually(2*time.Minute, "a batch", func() bool {
						mu.Lock()
						defer mu.Unlock()
						return len(got) == total-i
					})
					require.NoError(t, w.stop())
					seen = append(seen, got[0])
				}
				want := []string{"1", "2", "3", "8", "9", "10"}
				if aggregates == scheduler.SplitAggregates {
					want = slices.Insert(want, 3, "4", "5", "plain", "6", "7")
				}
				require.Equal(t, want, seen)
			})
		})
	}
}
