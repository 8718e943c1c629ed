package checkpoint_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
)

// row is a lease row without a lease table: it keeps what was written.
type row struct {
	mu      sync.Mutex
	written []kcl.ExtendedSequenceNumber
	pending kcl.ExtendedSequenceNumber
	state   []byte
	fail    func(kcl.ExtendedSequenceNumber) (err error, wrote bool)
	wait    time.Duration
}

func (r *row) Checkpoint(_ context.Context, pos kcl.ExtendedSequenceNumber) error {
	time.Sleep(r.wait)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if err, wrote := r.fail(pos); err != nil {
			if wrote {
				r.written = append(r.written, pos)
			}
			return err
		}
	}
	r.written = append(r.written, pos)
	r.pending = kcl.ExtendedSequenceNumber{}
	return nil
}

func (r *row) Prepare(_ context.Context, pos kcl.ExtendedSequenceNumber, state []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending, r.state = pos, state
	return nil
}

func at(n int) kcl.ExtendedSequenceNumber {
	return kcl.ExtendedSequenceNumber{SequenceNumber: strconv.Itoa(n)}
}

var trimHorizon = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon}

// TestRange follows the vectors of the Java library: last checkpoint 13,
// largest permitted 5019.
func TestX06OnlyWhatWasDelivered(t *testing.T) {
	t.Parallel()
	r := &row{}
	c := checkpoint.New(r, at(13), nil)
	c.Delivered(at(5019))
	ctx := t.Context()

	require.ErrorIs(t, c.CheckpointAt(ctx, at(2)), kcl.ErrInvalidCheckpoint)
	require.NoError(t, c.CheckpointAt(ctx, at(13)))
	require.Empty(t, r.written, "the same checkpoint again is not written")
	require.NoError(t, c.CheckpointAt(ctx, at(127)))
	for _, s := range []string{
		"2", "13", "9000", "6789", "", "bogus", "007", "-1", kcl.SentinelShardEnd,
		kcl.SentinelTrimHorizon, kcl.SentinelLatest, kcl.SentinelAtTimestamp,
	} {
		require.ErrorIs(t, c.CheckpointAt(ctx, kcl.ExtendedSequenceNumber{SequenceNumber: s}), kcl.ErrInvalidCheckpoint, s)
	}
	require.ErrorIs(t, c.CheckpointAt(ctx, kcl.ExtendedSequenceNumber{SequenceNumber: "130", SubSequenceNumber: -1}),
		kcl.ErrInvalidCheckpoint)
	require.ErrorIs(t, c.CheckpointAt(ctx, kcl.ExtendedSequenceNumber{SequenceNumber: "5019", SubSequenceNumber: 1}),
		kcl.ErrInvalidCheckpoint)
	require.NoError(t, c.CheckpointAt(ctx, at(5019)))
	require.Equal(t, []kcl.ExtendedSequenceNumber{at(127), at(5019)}, r.written)

	err := c.CheckpointAt(ctx, at(6000))
	require.ErrorContains(t, err, "6000 is outside 5019 (last checkpoint) to 5019 (last record delivered)")
}

func TestCheckpointWithoutPosition(t *testing.T) {
	t.Parallel()
	r := &row{}
	c := checkpoint.New(r, trimHorizon, nil)
	require.NoError(t, c.Checkpoint(t.Context()))
	require.Empty(t, r.written, "nothing was delivered")
	c.Delivered(at(7))
	c.Delivered(at(5))
	require.NoError(t, c.Checkpoint(t.Context()))
	require.NoError(t, c.Checkpoint(t.Context()))
	require.Equal(t, []kcl.ExtendedSequenceNumber{at(7)}, r.written)
	require.Equal(t, at(7), c.Report().Last)
}

func TestShardEndIsLast(t *testing.T) {
	t.Parallel()
	r := &row{}
	c := checkpoint.New(r, trimHorizon, nil)
	c.Delivered(at(7))
	boom := errors.New("store is away")
	r.fail = func(kcl.ExtendedSequenceNumber) (error, bool) { return boom, false }
	require.ErrorIs(t, c.End(t.Context()), boom)
	r.fail = nil
	require.NoError(t, c.End(t.Context()))
	require.NoError(t, c.End(t.Context()))
	require.ErrorIs(t, c.Checkpoint(t.Context()), kcl.ErrInvalidCheckpoint)
	require.ErrorIs(t, c.CheckpointAt(t.Context(), at(7)), kcl.ErrInvalidCheckpoint)
	_, err := c.Prepare(t.Context(), at(7), nil)
	require.ErrorIs(t, err, kcl.ErrInvalidCheckpoint)
	require.Equal(t, []kcl.ExtendedSequenceNumber{{SequenceNumber: kcl.SentinelShardEnd}}, r.written)
}

func TestPrepareAndCommit(t *testing.T) {
	t.Parallel()
	r := &row{}
	c := checkpoint.New(r, at(7000), nil)
	ctx := t.Context()
	c.Delivered(at(7040))

	first, err := c.Prepare(ctx, at(7010), []byte("one"))
	require.NoError(t, err)
	require.Equal(t, at(7010), r.pending)
	require.Equal(t, []byte("one"), r.state)
	second, err := c.Prepare(ctx, at(7020), nil)
	require.NoError(t, err)
	require.NoError(t, second.Commit(ctx))
	require.ErrorIs(t, first.Commit(ctx), kcl.ErrInvalidCheckpoint, "an older one after a newer")
	require.Zero(t, r.pending)

	all, err := c.Prepare(ctx, kcl.ExtendedSequenceNumber{}, nil)
	require.NoError(t, err)
	require.Equal(t, at(7040), all.Pending())
	require.NoError(t, c.CheckpointAt(ctx, at(7020)))
	require.Equal(t, kcl.ExtendedSequenceNumber{}, r.pending, "a repeated checkpoint removes what was pending")
	require.NoError(t, all.Commit(ctx))
	require.Equal(t, []kcl.ExtendedSequenceNumber{at(7020), at(7020), at(7040)}, r.written)

	_, err = c.Prepare(ctx, at(7041), nil)
	require.ErrorIs(t, err, kcl.ErrInvalidCheckpoint)
	_, err = c.Prepare(ctx, at(7040), make([]byte, checkpoint.MaxState+1))
	require.ErrorIs(t, err, kcl.ErrInvalidCheckpoint)
}

func TestPrepareBeforeTheFirstRecord(t *testing.T) {
	t.Parallel()
	_, err := checkpoint.New(&row{}, trimHorizon, nil).Prepare(t.Context(), kcl.ExtendedSequenceNumber{}, nil)
	require.ErrorIs(t, err, kcl.ErrInvalidCheckpoint)
}

func TestX07AfterLeaseLoss(t *testing.T) {
	t.Parallel()
	r := &row{}
	c := checkpoint.New(r, trimHorizon, nil)
	c.Delivered(at(9))
	p, err := c.Prepare(t.Context(), at(9), nil)
	require.NoError(t, err)
	c.Close(kcl.ErrLeaseLost)
	require.ErrorIs(t, c.Checkpoint(t.Context()), kcl.ErrLeaseLost)
	require.ErrorIs(t, c.CheckpointAt(t.Context(), at(1)), kcl.ErrLeaseLost)
	require.ErrorIs(t, p.Commit(t.Context()), kcl.ErrLeaseLost)
	require.ErrorIs(t, c.End(t.Context()), kcl.ErrLeaseLost)
	require.Empty(t, r.written)
}

func TestLeaseLossSeenByTheWriterCloses(t *testing.T) {
	t.Parallel()
	r := &row{fail: func(kcl.ExtendedSequenceNumber) (error, bool) { return kcl.ErrLeaseLost, false }}
	c := checkpoint.New(r, trimHorizon, nil)
	c.Delivered(at(9))
	require.ErrorIs(t, c.Checkpoint(t.Context()), kcl.ErrLeaseLost)
	r.fail = nil
	require.ErrorIs(t, c.Checkpoint(t.Context()), kcl.ErrLeaseLost)
}

// A write that failed may have happened: an earlier position must not be
// written on top of it, and it can be repeated.
func TestUnknownOutcomeIsNotRewound(t *testing.T) {
	t.Parallel()
	lost := errors.New("answer lost")
	r := &row{fail: func(kcl.ExtendedSequenceNumber) (error, bool) { return lost, true }}
	c := checkpoint.New(r, at(1), nil)
	c.Delivered(at(30))
	require.ErrorIs(t, c.CheckpointAt(t.Context(), at(20)), lost)
	require.ErrorIs(t, c.Report().Failure, lost)
	require.ErrorIs(t, c.CheckpointAt(t.Context(), at(10)), kcl.ErrInvalidCheckpoint)
	r.fail = nil
	require.NoError(t, c.CheckpointAt(t.Context(), at(20)))
	require.NoError(t, c.Report().Failure)
}

func TestOpenSince(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := checkpoint.New(&row{}, trimHorizon, nil)
		time.Sleep(time.Hour)
		require.Zero(t, c.Report().OpenSince, "nothing was delivered")
		delivered := time.Now()
		c.Delivered(at(10))
		time.Sleep(time.Minute)
		c.Delivered(at(20))
		require.Equal(t, delivered, c.Report().OpenSince)
		require.NoError(t, c.CheckpointAt(t.Context(), at(15)))
		require.Equal(t, time.Now(), c.Report().OpenSince, "5 more are open")
		require.NoError(t, c.Checkpoint(t.Context()))
		require.Zero(t, c.Report().OpenSince)
	})
}

// Two goroutines checkpoint 10 and 20; whichever order the store sees, 10 is
// never written after 20.
func TestSlowWritesDoNotOvertake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &row{wait: time.Second}
		c := checkpoint.New(r, at(1), nil)
		c.Delivered(at(30))
		var wg sync.WaitGroup
		for _, n := range []int{20, 10, 30, 15} {
			wg.Go(func() {
				if err := c.CheckpointAt(t.Context(), at(n)); err != nil {
					require.ErrorIs(t, err, kcl.ErrInvalidCheckpoint)
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		require.False(t, c.Report().WritingSince.IsZero())
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, kcl.ErrShutdownTimeout)
		defer cancel()
		require.ErrorIs(t, c.CheckpointAt(ctx, at(30)), kcl.ErrShutdownTimeout,
			"a caller does not wait longer than its context")
		wg.Wait()
		for i := 1; i < len(r.written); i++ {
			require.Negative(t, r.written[i-1].Compare(r.written[i]))
		}
	})
}

// Whatever a processor asks for, what reaches the row only grows and never
// passes what was delivered.
func TestAcceptedPositionsAreMonotone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.IntRange(0, 50).Draw(t, "start")
		r := &row{}
		c := checkpoint.New(r, at(start), nil)
		delivered, ctx := start, t.Context()
		var prepared []kcl.PreparedCheckpointer
		r.fail = func(pos kcl.ExtendedSequenceNumber) (error, bool) {
			if !pos.IsShardEnd() && pos.Compare(at(delivered)) > 0 {
				t.Fatalf("%s was written, %d was delivered", pos, delivered)
			}
			if rapid.IntRange(0, 9).Draw(t, "fails") > 0 {
				return nil, false
			}
			return errors.New("answer lost"), rapid.Bool().Draw(t, "wrote")
		}
		t.Repeat(map[string]func(*rapid.T){
			"deliver": func(t *rapid.T) {
				delivered += rapid.IntRange(0, 10).Draw(t, "more")
				c.Delivered(at(delivered))
			},
			"checkpoint": func(*rapid.T) { _ = c.Checkpoint(ctx) },
			"checkpoint at": func(t *rapid.T) {
				_ = c.CheckpointAt(ctx, kcl.ExtendedSequenceNumber{
					SequenceNumber: rapid.SampledFrom([]string{
						"0", strconv.Itoa(delivered),
						strconv.Itoa(rapid.IntRange(0, 200).Draw(t, "n")), "x", kcl.SentinelLatest,
					}).
						Draw(t, "s"),
					SubSequenceNumber: rapid.Int64Range(-1, 2).Draw(t, "sub"),
				})
			},
			"prepare": func(t *rapid.T) {
				if p, err := c.Prepare(ctx, at(rapid.IntRange(0, 200).Draw(t, "n")), nil); err == nil {
					prepared = append(prepared, p)
				}
			},
			"commit": func(t *rapid.T) {
				if len(prepared) > 0 {
					_ = rapid.SampledFrom(prepared).Draw(t, "p").Commit(ctx)
				}
			},
			"": func(t *rapid.T) {
				last := at(start)
				for _, w := range r.written {
					if w.Compare(last) < 0 {
						t.Fatalf("%s was written after %s", w, last)
					}
					last = w
				}
			},
		})
	})
}

// a batch that failed is not part of everything, until it is delivered
// again or the processor itself names positions in it.
func TestX01FailedBatchIsLeftOut(t *testing.T) {
	t.Parallel()
	var r row
	ctx := t.Context()
	c := checkpoint.New(&r, trimHorizon, nil)
	c.Delivered(at(10))
	c.Failed()
	require.NoError(t, c.Checkpoint(ctx))
	require.Empty(t, r.written, "nothing has been processed")

	c.Delivered(at(10))
	c.Delivered(at(20))
	c.Failed()
	require.NoError(t, c.Checkpoint(ctx))
	require.Equal(t, at(10), c.Report().Last)
	c.Delivered(at(20))
	c.Failed()
	p, err := c.Prepare(ctx, kcl.ExtendedSequenceNumber{}, nil)
	require.NoError(t, err)
	require.Equal(t, at(10), p.Pending())

	require.NoError(t, c.CheckpointAt(ctx, at(15)), "a part of the batch is done")
	require.NoError(t, c.Checkpoint(ctx))
	require.Equal(t, at(15), c.Report().Last, "and is not taken back")

	c.Delivered(at(20))
	require.NoError(t, c.Checkpoint(ctx), "from inside ProcessRecords")
	require.Equal(t, at(20), c.Report().Last)
}
