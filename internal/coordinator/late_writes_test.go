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
	"github.com/kinesis-go/kcl/internal/fleettest"
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
	f := fleettest.New(t, 2)
	roll := newDice(rng)
	var workers []*fleettest.Worker
	for i := range 3 {
		var w *fleettest.Worker
		w = f.Prepare(fmt.Sprintf("w%d", i), func(c *coordinator.Config) {
			c.ShutdownTimeout = 5 * time.Second
			c.Consume = func(ctx context.Context, h *holder.Holder) { impatient(ctx, w, h, roll) }
		})
		w.Run()
		workers = append(workers, w)
	}
	for range 40 {
		w := workers[roll(3)]
		switch roll(4) {
		case 0:
			w.Faults.SetFault(nil)
		case 1:
			w.Faults.SetFault(leasefault.Silent)
		default:
			w.Faults.SetFault(odd(roll, 20+roll(80)))
		}
		time.Sleep(roll.upTo(9 * time.Second))
	}
	for _, w := range workers {
		w.Faults.SetFault(nil)
	}
	time.Sleep(45 * time.Second)
	require.Less(t, f.LongestGap(), 15*time.Minute)
	f.Reset()
	time.Sleep(5 * time.Second)
	require.Less(t, f.LongestGap(), time.Second, "every shard is read")
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
func impatient(ctx context.Context, w *fleettest.Worker, h *holder.Holder, roll dice) {
	key := h.Lease().Key
	at := w.Begin(h)
	defer w.End(key)
	for !isClosed(h.Stopping()) && h.Valid() {
		at++
		w.Deliver(key, at)
		if at%7 == 0 {
			call, cancel := context.WithTimeout(ctx, time.Millisecond+roll.upTo(3*time.Second))
			w.Acknowledged(key, at, h.Checkpoint(call, number(at)))
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
			f := fleettest.New(t, 1)
			start := func(id string) *fleettest.Worker {
				var w *fleettest.Worker
				w = f.Prepare(id, func(c *coordinator.Config) {
					c.Consume = func(ctx context.Context, h *holder.Holder) { onlyReads(ctx, w, h) }
				})
				w.Run()
				return w
			}
			a := start("a")
			time.Sleep(5 * time.Second)
			start("b")
			time.Sleep(20*time.Second + time.Duration(i)*170*time.Millisecond)

			land := make(chan struct{})
			var renewed, listed atomic.Bool
			a.Faults.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
				switch {
				case call.Op == "list" && renewed.Load() && listed.CompareAndSwap(false, true):
					err := apply() // what it shows is older than its end
					time.AfterFunc(100*time.Millisecond, func() { close(land) })
					for a.Reads("shardId-000000000000") && ctx.Err() == nil {
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
func onlyReads(ctx context.Context, w *fleettest.Worker, h *holder.Holder) {
	key := h.Lease().Key
	at := w.Begin(h)
	defer w.End(key)
	for ; ctx.Err() == nil && h.Valid() && !isClosed(h.Stopping()); at++ {
		w.Deliver(key, at+1)
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		case <-h.Stopping():
		}
	}
}
