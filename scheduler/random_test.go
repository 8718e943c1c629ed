package scheduler_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

var (
	seed  = flag.Uint64("seed", 0, "run the random histories from this seed on; 0 picks one")
	seeds = flag.Int("seeds", 6, "how many random histories to run")
)

// random splits and merges under load, with processors of random speed,
// workers that come, stop and are killed, and the faults of randomFaults. Nothing
// is lost, the order of no key is broken, and only kills make duplicates.
func TestR01RandomHistories(t *testing.T) {
	t.Parallel()
	first := *seed
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	for i := range testsize.Pick(uint64(*seeds+2)/3, uint64(*seeds), uint64(*seeds)) {
		t.Run(fmt.Sprintf("seed %d", first+i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { randomHistory(t, first+i) })
		})
	}
}

func randomHistory(t *testing.T, seed uint64) {
	t.Logf("repeat with -run TestR01RandomHistories -seed %d -seeds 1", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t, oneStream(1+rnd.IntN(3)))
	ks := keys(20)
	mode := scheduler.RetrievalMode(rnd.IntN(2))
	faults := newRandomFaults(t, seed)
	r.srv.OnCall(faults.of)
	slowest := time.Duration(rnd.IntN(3000)) * time.Millisecond
	born, kills := 0, 0
	start := func() *worker {
		w := r.worker(fmt.Sprintf("w%d", born), func(c *scheduler.Config) { c.RetrievalMode = mode }, faults.slowDown)
		born++
		pace := rand.New(rand.NewPCG(seed, uint64(born)))
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			r.mu.Lock()
			delay := time.Duration(pace.Int64N(int64(slowest) + 1))
			r.mu.Unlock()
			time.Sleep(delay)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		return w.start()
	}
	live := []*worker{start(), start()}
	for range 25 {
		switch n := rnd.IntN(10); {
		case n < 3:
			open := r.open()
			if len(open) < 6 {
				r.split(open[rnd.IntN(len(open))])
			}
		case n < 6:
			if open := r.open(); len(open) > 1 {
				at := rnd.IntN(len(open) - 1)
				r.merge(open[at], open[at+1])
			}
		case n == 6 && len(live) < 4:
			live = append(live, start())
		case n == 7 && len(live) > 1:
			at := rnd.IntN(len(live))
			require.NoError(t, live[at].stop())
			live = append(live[:at], live[at+1:]...)
		case n == 8 && len(live) > 1:
			at := rnd.IntN(len(live))
			live[at].kill()
			kills++
			live = append(live[:at], live[at+1:]...)
		}
		faults.breakHost(live[rnd.IntN(len(live))].name)
		r.produce(rnd.IntN(3), time.Duration(rnd.IntN(2000))*time.Millisecond, ks)
	}
	r.finished(faults.longest())
	time.Sleep(10 * time.Second) // for a worker that was started last
	for _, w := range live {
		if faults.badHosts > 0 { // a call of the start may wait for a bad host
			r.eventually(5*time.Minute, w.name+" is healthy", func() bool { return w.Healthy() == nil })
		}
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
	}
	r.audit.check(kills * 1000)
}

// randomFaults are the faults of a random history, with their rates. Every kind is absent from some
// histories. No fault ends before its history.
type randomFaults struct {
	hiddenEnds int // percentage of the reads that hide the end of their shard
	badHosts   int // percentage of the rounds in which a worker's connections begin to lead to a bad host
	lineRate   int // bytes a second of every worker's line; 0 is no limit

	mu    sync.Mutex // guards the fields below
	rnd   *rand.Rand
	hosts map[string]*badHost // by worker
}

// badHost is the host behind the bad connections of one worker.
type badHost struct {
	badConnections
	does kinesistest.Action
}

func newRandomFaults(t *testing.T, seed uint64) *randomFaults {
	f := &randomFaults{rnd: rand.New(rand.NewPCG(seed, 3)), hosts: map[string]*badHost{}}
	f.hiddenEnds = []int{0, 30, 100}[f.rnd.IntN(3)]
	f.badHosts = []int{0, 5, 20}[f.rnd.IntN(3)]
	f.lineRate = []int{0, 2_000, 20_000}[f.rnd.IntN(3)]
	t.Logf("hidden ends %d%%, bad hosts %d%%, line %d bytes/s", f.hiddenEnds, f.badHosts, f.lineRate)
	return f
}

// of returns the fault of a call.
func (f *randomFaults) of(c *kinesistest.Call) *kinesistest.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.Client == "client" { // the operator and the producer
		return nil
	}
	if f.hostLocked(c.Client).harms(c.RemoteAddr) {
		return &kinesistest.Fault{Do: []kinesistest.Action{f.hostLocked(c.Client).does}}
	}
	if f.rnd.IntN(100) < f.hiddenEnds {
		return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.HideEnd()}}
	}
	return nil
}

// hostLocked returns the bad host of a worker.
func (f *randomFaults) hostLocked(worker string) *badHost {
	if f.hosts[worker] == nil {
		f.hosts[worker] = &badHost{does: []kinesistest.Action{
			kinesistest.Fail("ServiceUnavailable", "host is going away"),
			kinesistest.Silence(),
			kinesistest.StallStream(kinesistest.AfterEvents(0)),
		}[f.rnd.IntN(3)]}
	}
	return f.hosts[worker]
}

// breakHost may make the open connections of a worker lead to a bad host from now on.
func (f *randomFaults) breakHost(worker string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rnd.IntN(100) < f.badHosts {
		f.hostLocked(worker).breakOld()
	}
}

// longest returns how long it may take until all records are processed. An end that is always
// hidden is found after up to three minutes. Only then the reading of the children begins.
func (f *randomFaults) longest() time.Duration {
	if f.hiddenEnds == 100 {
		return 75 * time.Minute
	}
	return 15 * time.Minute
}

// slowDown gives a worker a slow line, if the history has them.
func (f *randomFaults) slowDown(c *scheduler.Config) {
	if f.lineRate == 0 {
		return
	}
	o := c.Kinesis.Options()
	o.HTTPClient = &http.Client{Transport: slowLine{o.HTTPClient.(*http.Client).Transport, f.lineRate}}
	c.Kinesis = kinesis.New(o)
}
