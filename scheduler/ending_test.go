package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

// An answer of GetRecords that says that the shard has ended.
func falseEnd(behind time.Duration) kinesistest.Fault {
	return kinesistest.Fault{Operation: "GetRecords", Client: "a", Do: []kinesistest.Action{kinesistest.FalseEnd(behind)}}
}

// An event of a subscription that says so.
func falseEndEvent(n int, behind time.Duration) kinesistest.Fault {
	return kinesistest.Fault{
		Operation: "SubscribeToShard", Client: "a",
		Do: []kinesistest.Action{kinesistest.SendFalseEnd(n, behind)},
	}
}

// A shard that was split while the consumer was behind, and answers that say once, or a few times,
// that it has been read to its end. ListShards names the children, and the backlog is delivered all
// the same.
func TestOddEndOverABacklogIsNoEnd(t *testing.T) {
	t.Parallel()
	denied := func(op, _ string) bool { return op == "GetRecords" || op == "GetShardIterator" }
	for name, test := range map[string]struct {
		mode   scheduler.RetrievalMode
		deny   func(op, resource string) bool
		faults []kinesistest.Fault
	}{
		"polling, far from the tip": {scheduler.Polling, nil, []kinesistest.Fault{falseEnd(5 * time.Second)}},
		"polling, nothing said":     {scheduler.Polling, nil, []kinesistest.Fault{falseEnd(-1)}},
		"polling, at the tip":       {scheduler.Polling, nil, []kinesistest.Fault{falseEnd(0)}},
		"fan-out, far from the tip": {scheduler.EFO, nil, []kinesistest.Fault{falseEndEvent(0, 5*time.Second)}},
		"fan-out, at the tip":       {scheduler.EFO, nil, []kinesistest.Fault{falseEndEvent(0, 0)}},
		"fan-out, in the middle":    {scheduler.EFO, nil, []kinesistest.Fault{falseEndEvent(1, 5*time.Second)}},
		"fan-out, GetRecords too": {scheduler.EFO, nil, []kinesistest.Fault{
			falseEndEvent(0, 5*time.Second),
			falseEnd(5 * time.Second),
		}},
		"fan-out, stream says nothing": {scheduler.EFO, nil, []kinesistest.Fault{{
			Operation: "SubscribeToShard",
			Do:        []kinesistest.Action{kinesistest.EndStream(kinesistest.AfterEvents(0))},
		}, falseEnd(-1)}},
		"fan-out, GetRecords is refused": {scheduler.EFO, denied, []kinesistest.Fault{falseEndEvent(0, 5*time.Second)}},
	} {
		for times := 1; times <= 3; times++ {
			t.Run(fmt.Sprintf("%s, %d times", name, times), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					cfg := oneStream(1)
					cfg.Deny = test.deny
					r := newRig(t, cfg)
					parent := r.open()[0]
					r.produce(20, time.Second, keys(10))
					r.split(parent)
					for _, f := range test.faults {
						f.Shard, f.Times = parent, times
						r.srv.Inject(f)
					}
					w := r.worker("a", func(c *scheduler.Config) { c.RetrievalMode = test.mode }).start()
					r.eventually(5*time.Minute, "the parent has ended", func() bool {
						return r.has(parent) &&
							r.row(parent).Finished()
					})
					require.True(t, r.audit.complete(), r.audit.missing())
					require.NoError(t, w.stop())
					r.audit.check(0)
				})
			})
		}
	}
}

// For a long time a part of all answers says that the shard has ended, while it is resharded under
// load.
func TestOddEndsAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range testsize.Pick[uint64](1, 2, 4) {
		modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
			r := newRig(t, oneStream(1))
			var mu sync.Mutex // guards rnd
			rnd := rand.New(rand.NewPCG(seed, 0))
			remove := r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
				mu.Lock()
				defer mu.Unlock()
				if c.Client != "a" || rnd.IntN(3) > 0 {
					return nil
				}
				behind := []time.Duration{-1, 0, 5 * time.Second}[rnd.IntN(3)]
				return &kinesistest.Fault{Do: []kinesistest.Action{
					kinesistest.FalseEnd(behind),
					kinesistest.SendFalseEnd(rnd.IntN(4), max(behind, 0)),
				}}
			})
			w := r.worker("a", mode).start()
			for range 6 {
				r.produce(20, time.Second, keys(10))
				r.split(r.open()[0])
			}
			time.Sleep(time.Minute)
			remove()
			r.finished(10 * time.Minute)
			require.NoError(t, w.stop())
			r.audit.check(0)
		})
	}
}

// A server that never says of a closed shard that it has ended, and goes on giving iterators and
// continuations: an event of its that names the children has a continuation as well.
func TestEndThatTheServerDoesNotSpellOut(t *testing.T) {
	t.Parallel()
	for name, do := range map[string][]kinesistest.Action{
		"from both": {kinesistest.HideEnd()},
		"from a server that is stuck": {kinesistest.HideEnd(), kinesistest.Answer(200,
			[]byte(`{"Records":[],"NextShardIterator":"next","MillisBehindLatest":0}`))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(1))
				parent := r.open()[0]
				w := r.worker("a", mode).start()
				r.produce(20, time.Second, keys(10))
				r.finished(time.Minute)
				for i, operation := range []string{"SubscribeToShard", "GetRecords"} {
					r.srv.Inject(kinesistest.Fault{Operation: operation, Client: "a", Shard: parent, Do: do[:1]})
					r.srv.Inject(kinesistest.Fault{Operation: operation, Client: "a", When: func(c *kinesistest.Call) bool {
						return c.Shard == parent || c.Shard == "" // the iterator that the stuck server gave
					}, Do: do[i*(len(do)-1):]})
				}
				r.srv.ResetConnections() // subscriptions that are open are not harmed
				time.Sleep(20 * time.Second)
				r.split(parent)
				r.produce(20, time.Second, keys(10))
				r.finished(5 * time.Minute)
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}
