package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

// checkpoints has the last seen checkpoint of each lease.
type checkpoints map[string]kcl.ExtendedSequenceNumber

// observe fails the test if a checkpoint has moved backwards.
func (c checkpoints) observe(r *rig) {
	for _, l := range r.table() {
		if last := c[l.Key]; !last.IsZero() {
			require.GreaterOrEqual(r.t, l.Checkpoint.Compare(last), 0, "%s went from %s back to %s", l.Key, last, l.Checkpoint)
		}
		c[l.Key] = l.Checkpoint
	}
}

// The table is away for three hours, while records keep coming: nothing is
// delivered that no lease covers, nothing is lost, no checkpoint moves backwards,
// and every shard is read again within FailoverTime + scan + 30 s of its return.
func TestL14ThreeHoursWithoutTheTable(t *testing.T) {
	t.Parallel()
	for _, mode := range []scheduler.RetrievalMode{scheduler.EFO, scheduler.Polling} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shards := testsize.Pick(6, 12, 12)
				r := newRig(t, oneStream(shards))
				r.capture()
				var workers []*worker
				for i := range 3 {
					workers = append(workers, r.worker(fmt.Sprintf("w%d", i),
						func(c *scheduler.Config) { c.RetrievalMode = mode }).start())
				}
				seen := checkpoints{}
				r.produce(20, time.Second, keys(40))
				r.finished(time.Minute)
				seen.observe(r)

				for _, w := range workers {
					w.faults.SetFault(leasefault.Failing(errors.New("the table is away")))
				}
				time.Sleep(15 * time.Second)
				require.Zero(t, r.owned(), "nobody has a lease")
				before := r.audit.count()
				for range testsize.Pick(3, 6, 18) {
					r.put(keys(40)...)
					time.Sleep(10 * time.Minute)
				}
				require.Equal(t, before, r.audit.count(), "nothing is delivered without a lease")
				seen.observe(r)
				for _, w := range workers {
					w.faults.SetFault(nil)
				}
				back := time.Now()
				r.eventually(42*time.Second, "all shards are read", func() bool { return r.owned() == shards })
				t.Logf("all are read again after %v", time.Since(back))
				seen.observe(r)
				r.put(keys(40)...)
				r.finished(time.Minute)
				seen.observe(r)
				for _, w := range workers {
					require.NoError(t, w.stop())
				}
				seen.observe(r)
				r.audit.check(40 * 2) // what was delivered when the table went away
			})
		})
	}
}

// Killing any one worker, the first one above all, delays only the shards that it
// held. Those of the others are read on as if nothing had happened.
func TestL05KilledWorkerDelaysItsOwnShardsOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const shards = 16
		r := newRig(t, oneStream(shards))
		last := map[string]time.Time{} // of the shard
		gaps := map[string]time.Duration{}
		owner := map[string]string{}
		do := func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			p.take(in)
			if !p.w.dead.Load() {
				r.mu.Lock()
				gaps[p.shard.ID] = max(gaps[p.shard.ID], time.Since(last[p.shard.ID]))
				last[p.shard.ID], owner[p.shard.ID] = time.Now(), p.w.name
				r.mu.Unlock()
			}
			return p.checkpoint(ctx, in.Checkpointer)
		}
		for i := range 5 {
			w := r.worker(fmt.Sprintf("w%d", i))
			w.do = do
			w.start()
		}
		r.eventually(20*time.Second, "all shards are read", func() bool { return r.owned() == shards })
		r.produce(60, time.Second, keys(testsize.Pick(50, 100, 100)))
		for _, victim := range testsize.Pick([]int{3}, []int{0, 3, 1}, []int{0, 3, 1}) {
			r.mu.Lock()
			clear(gaps)
			was := map[string]bool{}
			for shard, name := range owner {
				was[shard] = name == r.workers[victim].name
				last[shard] = time.Now()
			}
			r.mu.Unlock()
			r.workers[victim].kill()
			r.produce(30, time.Second, keys(100))
			r.mu.Lock()
			ofVictim, others := time.Duration(0), time.Duration(0)
			for shard, gap := range gaps {
				if was[shard] {
					ofVictim = max(ofVictim, gap)
				} else {
					others = max(others, gap)
				}
			}
			r.mu.Unlock()
			t.Logf("w%d killed: its shards waited up to %v, those of others %v", victim, ofVictim, others)
			require.Greater(t, ofVictim, 6*time.Second)
			require.LessOrEqual(t, ofVictim, 18500*time.Millisecond) // the bound, and the second between two records
			require.Less(t, others, 5*time.Second)
		}
		r.finished(time.Minute)
		r.audit.check(100 * 3)
	})
}

// Three workers and twenty shards with little data: for hours no lease moves, and
// nobody has anything to warn of. leases has the whole day.
func TestL01QuietFleet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shards := testsize.Pick(9, 20, 20)
		tens := testsize.Pick(1, 3, 12) // of minutes
		r := newRig(t, oneStream(shards))
		log := r.capture()
		var workers []*worker
		for i := range 3 {
			workers = append(workers, r.worker(fmt.Sprintf("w%d", i)).start())
		}
		r.eventually(20*time.Second, "all shards are read", func() bool { return r.owned() == shards })
		time.Sleep(time.Minute)
		owners := map[string]string{}
		for _, l := range r.table() {
			owners[l.Key] = l.Owner
		}
		warnings, taken := log.count("level=WARN")+log.count("level=ERROR"), log.count("lease taken")
		for range tens {
			r.put(keys(5)...)
			time.Sleep(10 * time.Minute)
		}
		for _, l := range r.table() {
			require.Equal(t, owners[l.Key], l.Owner, l.Key)
		}
		require.Equal(t, taken, log.count("lease taken"), "no moves")
		require.Equal(t, warnings, log.count("level=WARN")+log.count("level=ERROR"), "%s", log.warnings())
		for _, w := range workers {
			require.NoError(t, w.Healthy())
			require.NoError(t, w.stop())
		}
		r.audit.check(0)
	})
}

// warnings returns the lines that warn, or worse.
func (l *logged) warnings() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for line := range strings.Lines(l.text.String()) {
		if !strings.Contains(line, "level=INFO") {
			b.WriteString(line)
		}
	}
	return b.String()
}
