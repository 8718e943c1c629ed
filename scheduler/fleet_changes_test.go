package scheduler_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/scheduler"
)

var (
	kills = flag.Int("kills", 0,
		"how many workers TestX13 kills; 0 picks a number; the catalogue asks for 1000 before a release")
	churn = flag.Duration("churn", 0,
		"for how long TestX16 changes the size of the fleet; 0 picks a time; the catalogue asks for 6h before a release")
)

// TestX13Killed: workers die at any moment, again and again. Nothing is lost, and a kill repeats no
// more than the batches that its shards had in hand: here each is checkpointed, so that is what was
// processed and not yet recorded.
func TestX13Killed(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		const shards, perRound = 4, 8
		rnd := rand.New(rand.NewPCG(13, 13))
		r := newRig(t, oneStream(shards))
		ks := keys(perRound)
		born, kills := 0, cmp.Or(*kills, testsize.Pick(30, 50, 100))
		start := func() *worker {
			born++
			w := r.worker(fmt.Sprintf("w%d", born), mode)
			// A record has been dealt with some time before its checkpoint is there: the moment in which a
			// kill makes a duplicate.
			w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
				p.take(in)
				time.Sleep(100 * time.Millisecond)
				return p.checkpoint(ctx, in.Checkpointer)
			}
			return w.start()
		}
		live := []*worker{start(), start(), start()}
		r.produce(10, time.Second, ks)
		for range kills {
			at := rnd.IntN(len(live))
			r.put(ks...)
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
			live[at].kill()
			live[at] = start()
			r.produce(2+rnd.IntN(8), time.Second, ks)
		}
		r.finished(time.Minute)
		for _, w := range live {
			require.NoError(t, w.stop())
		}
		// A kill repeats at most the last records of each key: those that were put together.
		r.audit.check(kills * perRound)
		require.NotEmpty(t, r.audit.duplicates, "the kills came at the right moments")
		t.Logf("%d kills, %d records, %d duplicates", kills, r.audit.count(), len(r.audit.duplicates))
	})
}

// owners follows which worker processes each shard.
type owners struct {
	last  map[string]string
	moves map[string]int
}

// observe counts every shard that has another owner than at the last call.
func (o *owners) observe(r *rig) {
	for _, id := range r.open() {
		row, err := r.store.Get(context.Background(), id)
		if err != nil || row.Owner == "" || row.Owner == o.last[id] {
			continue
		}
		if o.last[id] != "" {
			o.moves[id]++
		}
		o.last[id] = row.Owner
	}
}

// TestX14RollingDeploy: twenty workers are replaced one by one, gracefully. Nothing comes twice,
// and a shard moves twice on average at the most.
func TestX14RollingDeploy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		workers := testsize.Pick(5, 10, 20)
		shards := 2 * workers
		r := newRig(t, oneStream(shards))
		ks := keys(200)
		var fleet []*worker
		for i := range workers {
			fleet = append(fleet, r.worker(fmt.Sprintf("old%d", i)).start())
		}
		r.eventually(2*time.Minute, "balanced", func() bool {
			for _, w := range fleet {
				if held(w) != shards/workers {
					return false
				}
			}
			return true
		})
		o := owners{last: map[string]string{}, moves: map[string]int{}}
		o.observe(r)
		for i := range fleet {
			r.put(ks...)
			require.NoError(t, fleet[i].stop())
			o.observe(r)
			fleet[i] = r.worker(fmt.Sprintf("new%d", i)).start()
			for range 30 {
				time.Sleep(time.Second)
				o.observe(r)
			}
		}
		r.finished(time.Minute)
		total, most := 0, 0
		for _, n := range o.moves {
			total += n
			most = max(most, n)
		}
		t.Logf("%d moves of %d shards, at most %d of one", total, shards, most)
		require.LessOrEqual(t, total, 2*shards)
		require.Len(t, o.moves, shards, "each has moved")
		for _, w := range fleet {
			require.NoError(t, w.stop())
		}
		r.audit.check(0)
	})
}

// TestX16AutoscalerChurn: the fleet goes from 3 to 30 workers and back every two minutes. Nothing
// is lost, nothing comes twice, and no record waits long.
func TestX16AutoscalerChurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		few, many, shards := 3, testsize.Pick(12, 30, 30), 12
		r := newRig(t, oneStream(shards))
		ks := keys(60)
		born, churn := 0, cmp.Or(*churn, testsize.Pick(4*time.Minute, 12*time.Minute, 40*time.Minute))
		lag := time.Duration(0)
		start := func() *worker {
			born++
			w := r.worker(fmt.Sprintf("w%d", born))
			w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
				p.take(in)
				r.mu.Lock()
				lag = max(lag, time.Since(in.Records[0].ApproximateArrival()))
				r.mu.Unlock()
				return p.checkpoint(ctx, in.Checkpointer)
			}
			return w.start()
		}
		var fleet []*worker
		for until := time.Now().Add(churn); time.Now().Before(until); {
			for len(fleet) < many {
				fleet = append(fleet, start())
			}
			r.produce(24, 5*time.Second, ks)
			done := make(chan error)
			for _, w := range fleet[few:] {
				go func() { done <- w.stop() }()
			}
			for range fleet[few:] {
				require.NoError(t, <-done)
			}
			fleet = fleet[:few]
			r.produce(24, 5*time.Second, ks)
		}
		r.finished(time.Minute)
		for _, w := range fleet {
			require.NoError(t, w.stop())
		}
		t.Logf("%d workers, the longest wait of a record was %s", born, lag)
		require.Less(t, lag, 30*time.Second)
		r.audit.check(0)
	})
}
