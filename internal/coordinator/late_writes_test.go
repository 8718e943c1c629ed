package coordinator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

// TestLateLandings lets three workers share two leases. The table's writes land late, get lost, or
// get no answer, and its listings are old. The fleet checks that no two workers hold one lease,
// that no accepted checkpoint gets lost, and that every record is processed.
func TestLateLandings(t *testing.T) { eachSeed(t, testsize.Pick[uint64](15, 60, 3000), lateLandings) }

func lateLandings(t *testing.T, rng *rand.Rand) {
	f := newFleet(t, 2)
	roll := newDice(rng)
	var workers []*worker
	for i := range 3 {
		var w *worker
		w = f.prepare(fmt.Sprintf("w%d", i), func(c *coordinator.Config) {
			c.ShutdownTimeout = 5 * time.Second
			c.Consume = func(ctx context.Context, h *holder.Holder) { w.impatient(ctx, h, roll) }
		})
		w.run()
		workers = append(workers, w)
	}
	for range 40 {
		w := workers[roll(3)]
		switch roll(4) {
		case 0:
			w.faults.SetFault(nil)
		case 1:
			w.faults.SetFault(leasefault.Silent)
		default:
			w.faults.SetFault(odd(roll, 20+roll(80)))
		}
		time.Sleep(roll.upTo(9 * time.Second))
	}
	for _, w := range workers {
		w.faults.SetFault(nil)
	}
	time.Sleep(45 * time.Second)
	require.Less(t, f.longestGap(), 15*time.Minute)
	f.reset()
	time.Sleep(5 * time.Second)
	require.Less(t, f.longestGap(), time.Second, "every shard is read")
}

// dice may be rolled from several goroutines.
type dice func(n int64) int64

func newDice(rng *rand.Rand) dice {
	slot := make(chan struct{}, 1)
	return func(n int64) int64 {
		slot <- struct{}{}
		defer func() { <-slot }()
		return rng.Int64N(n)
	}
}

func (d dice) upTo(most time.Duration) time.Duration { return time.Duration(d(int64(most))) }

// odd is a table that delays or loses some per cent of the calls.
func odd(roll dice, percent int64) leasefault.Fault {
	return func(ctx context.Context, call leasefault.Call, apply func() error) error {
		if roll(100) >= percent {
			return apply()
		}
		after := func(d time.Duration, err error) error {
			select {
			case <-time.After(d):
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if call.Op != "update" {
			return after(roll.upTo(9*time.Second), apply())
		}
		switch roll(5) {
		case 0: // never gets there
			return after(roll.upTo(5*time.Second), errStore)
		case 1: // gets there late, however long its caller waits
			time.AfterFunc(roll.upTo(12*time.Second), func() { _ = apply() })
			return after(5*time.Second, errStore)
		case 2: // gets there once its caller has given up
			return leasefault.Late(roll.upTo(10*time.Second))(ctx, call, apply)
		case 3: // takes effect, and the answer is lost
			_ = apply()
			return after(roll.upTo(5*time.Second), errStore)
		default: // the answer takes its time
			return after(roll.upTo(4*time.Second), apply())
		}
	}
}

// impatient is a consumer that checkpoints now and then, and does not wait long
// for the answer.
func (w *worker) impatient(ctx context.Context, h *holder.Holder, roll dice) {
	key := h.Lease().Key
	at := w.f.begin(w, h)
	defer w.f.end(w, key)
	for !isClosed(h.Stopping()) && h.Valid() {
		at++
		w.f.deliver(w, key, at)
		if at%7 == 0 {
			call, cancel := context.WithTimeout(ctx, time.Millisecond+roll.upTo(3*time.Second))
			w.f.acknowledged(key, at, h.Checkpoint(call, number(at)))
			cancel()
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return
		case <-h.Stopping():
		}
	}
}

// Worker a loses its lease and takes it again, by a listing from before its last renewal landed.
// The take conflicts with a row that looks as if the take had been accepted. Other workers count
// from the late renewal. Worker a may not trust the lease for longer than that.
func TestTakeThatMeetsALateRenewalIsNotTrusted(t *testing.T) {
	for i := range 20 {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 1)
			start := func(id string) *worker {
				var w *worker
				w = f.prepare(id, func(c *coordinator.Config) {
					c.Consume = func(ctx context.Context, h *holder.Holder) { w.onlyReads(ctx, h) }
				})
				w.run()
				return w
			}
			a := start("a")
			time.Sleep(5 * time.Second)
			start("b")
			time.Sleep(20*time.Second + time.Duration(i)*170*time.Millisecond)

			land := make(chan struct{})
			var renewed, listed atomic.Bool
			a.faults.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
				switch {
				case call.Op == "list" && renewed.Load() && listed.CompareAndSwap(false, true):
					err := apply() // what it shows is older than its end
					time.AfterFunc(100*time.Millisecond, func() { close(land) })
					for f.reads(a, "shardId-000000000000") && ctx.Err() == nil {
						time.Sleep(10 * time.Millisecond)
					}
					return err
				case call.Op == "list" || (call.Op == "update" && call.Update.Set.Has(leases.AttrNativeOwner)):
					return apply()
				case call.Op == "update" && renewed.CompareAndSwap(false, true):
					go func() { // ends once the renewal has landed
						<-land
						_ = apply()
					}()
				}
				return leasefault.Silent(ctx, call, apply)
			})
			time.Sleep(time.Minute)
			require.True(t, listed.Load())
		})
	}
}

// onlyReads is a consumer that never writes.
func (w *worker) onlyReads(ctx context.Context, h *holder.Holder) {
	key := h.Lease().Key
	at := w.f.begin(w, h)
	defer w.f.end(w, key)
	for ; ctx.Err() == nil && h.Valid() && !isClosed(h.Stopping()); at++ {
		w.f.deliver(w, key, at+1)
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		case <-h.Stopping():
		}
	}
}

// reads tells whether a consumer of w is reading a shard.
func (f *fleet) reads(w *worker, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shardLocked(key).reading[w.id] > 0
}
