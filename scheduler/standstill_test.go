package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

// takesOnly is a table that lets leases be taken, and refuses every renewal and checkpoint.
func takesOnly(_ context.Context, call leasefault.Call, apply func() error) error {
	if call.Op == "update" && !call.Update.Set.Has(leases.AttrOwner) {
		return errors.New("throttled")
	}
	return apply()
}

// A table that accepts takes and refuses renewals: every consumer looks well until its lease is
// lost, and the next one begins at the same checkpoint. Health remembers the shard, not the
// consumer.
func TestHealthOutlivesALease(t *testing.T) {
	t.Parallel()
	for name, do := range testsize.Some(1, map[string]func(ctx context.Context, p *processor,
		in kcl.ProcessRecordsInput) error{
		"checkpoints each batch": nil,
		"checkpoints seldom": func(_ context.Context, p *processor,
			in kcl.ProcessRecordsInput,
		) error {
			p.take(in)
			return nil
		},
		"fails": func(context.Context, *processor,
			kcl.ProcessRecordsInput,
		) error {
			return errors.New("no database")
		},
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(1))
				log := r.capture()
				w := r.worker("a", mode).start()
				r.put("k")
				r.finished(time.Minute)
				w.setDo(do)
				w.faults.SetFault(takesOnly)
				red, seconds := 0, testsize.Pick(300, 500, 900)
				for range seconds {
					r.put("k")
					time.Sleep(time.Second)
					if w.Healthy() != nil {
						red++
					}
				}
				require.Greater(t, red, seconds-150, "the lease was lost %d times", log.count(`msg="lease lost"`))
				require.ErrorContains(t, w.Healthy(), "work on the shard has broken off")
				require.Positive(t, log.count("shard makes no progress"))
				require.Less(t, log.count("shard makes no progress"), 10, "once, not with each lease")
				w.faults.SetFault(nil)
				w.setDo(nil)
				r.put("k")
				r.finished(2 * time.Minute)
				time.Sleep(10 * time.Second)
				require.NoError(t, w.Healthy(), "a checkpoint was accepted")
				require.NoError(t, w.stop())
			})
		})
	}
}

// A shard without records whose lease is lost again and again is told as well: nobody could read a
// record.
func TestHealthTellsOfALeaseThatNeverLasts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		r.capture()
		w := r.worker("a").start()
		time.Sleep(time.Minute)
		w.faults.SetFault(takesOnly)
		time.Sleep(10 * time.Minute)
		require.ErrorContains(t, w.Healthy(), "work on the shard has broken off")
		w.faults.SetFault(nil)
		time.Sleep(4 * time.Minute)
		require.NoError(t, w.Healthy(), "the lease has lasted")
		require.NoError(t, w.stop())
	})
}

// One lease that is lost turns nothing red for good: not for the worker that lost it, and not when
// the processor never checkpoints.
func TestOneLostLeaseIsNoStandstill(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{true, false} { // who reads on: the same worker, or another
		t.Run(fmt.Sprintf("taken again %t", again), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				r.capture()
				never := func(_ context.Context, p *processor, in kcl.ProcessRecordsInput) error { p.take(in); return nil }
				a := r.worker("a")
				a.do = never
				a.start()
				r.put("k")
				r.finished(time.Minute)
				a.faults.SetFault(func(ctx context.Context, _ leasefault.Call,
					_ func() error,
				) error {
					<-ctx.Done()
					return ctx.Err()
				})
				b := r.worker("b")
				b.do = never
				if !again {
					b.start()
				}
				time.Sleep(20 * time.Second)
				a.faults.SetFault(nil)
				r.produce(30, 10*time.Second, keys(1))
				for range 10 {
					r.put("k")
					time.Sleep(10 * time.Second)
					require.NoError(t, a.Healthy())
				}
				require.NoError(t, a.stop())
			})
		})
	}
}

// A provisioned table that is far too small: most writes are throttled. A shard whose checkpoint
// stands still is told by some worker.
func TestHealthOnATableThatIsFarTooSmall(t *testing.T) {
	t.Parallel()
	for _, percent := range testsize.Pick([]uint32{98}, []uint32{95, 98}, []uint32{95, 98}) {
		t.Run(fmt.Sprintf("%d percent", percent), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(4))
				r.capture()
				a, b := r.worker("a").start(), r.worker("b").start()
				r.produce(30, time.Second, keys(40))
				r.finished(time.Minute)
				var mu sync.Mutex
				n := 0
				fault := func(_ context.Context, call leasefault.Call, apply func() error) error {
					if call.Op == "update" {
						mu.Lock()
						n++
						h := fnv.New32()
						_, _ = fmt.Fprint(h, n, percent)
						mu.Unlock()
						if h.Sum32()%100 < percent {
							return errors.New("ProvisionedThroughputExceededException")
						}
					}
					return apply()
				}
				a.faults.SetFault(fault)
				b.faults.SetFault(fault)
				last, stuck, silent := map[string]kcl.ExtendedSequenceNumber{}, map[string]int{}, 0
				for range testsize.Pick(450, 900, 900) {
					r.put(keys(40)...)
					time.Sleep(time.Second)
					worst := 0
					for _, l := range r.table() {
						if stuck[l.Key]++; last[l.Key] != l.Checkpoint {
							last[l.Key], stuck[l.Key] = l.Checkpoint, 0
						}
						worst = max(worst, stuck[l.Key])
					}
					if worst > 130 && a.Healthy() == nil && b.Healthy() == nil {
						silent++
					}
				}
				a.faults.SetFault(nil)
				b.faults.SetFault(nil)
				r.finished(3 * time.Minute)
				require.NoError(t, a.stop())
				require.NoError(t, b.stop())
				require.Less(t, silent, 60)
			})
		})
	}
}
