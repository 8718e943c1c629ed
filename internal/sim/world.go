package sim

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/memnet"
	"github.com/kinesis-go/kcl/internal/sim/check"
	"github.com/kinesis-go/kcl/kinesistest"
)

// World plays a Scenario. Its own goroutine starts workers, writes records and changes the stream,
// one step after the other.
type World struct {
	t        *testing.T
	scenario Scenario
	dice     dice
	stream   *feed
	table    leaseTable
	check    *check.Checker
	log      *slog.Logger
	logged   *logTail

	faults // by layer, with the rates of this world

	faulty  atomic.Bool // faults happen
	outage  outage
	latency atomic.Int64 // the longest time that a call of Kinesis takes each way

	born    int
	live    []*worker // that were neither stopped nor killed
	all     []*worker
	changed time.Time // when a worker was last started, killed or asked to stop
	undo    []func()  // each ends what lasts for a while

	greenSince time.Time // since when shards stand still while all workers are healthy

	last string // the report of a world with violations

	tally tally
}

// outage is the state of a lease table that does not work.
type outage struct{ on, silent atomic.Bool }

// tally counts faults by their names.
type tally struct {
	mu     sync.Mutex // guards counts
	counts map[string]int
	ties   ties // guards itself
}

func (t *tally) add(fault string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[fault]++
}

// Result is the outcome of a play.
type Result struct {
	Scenario   Scenario
	Violations []check.Violation
	Hash       uint64         // of the trace
	Ties       int            // instants of two actors, see ties; without any, all plays have one hash
	Trace      []check.Event  // all events
	Counts     check.Counts   // of records and writes
	Faults     map[string]int // how often each fault happened
	Virtual    time.Duration  // how long the world lasted
	Drain      time.Duration  // how long it took after the last fault until all was processed
	Report     string         // workers and last log lines at the first violation
}

// Play plays a scenario in a bubble of its own. t fails only if the library leaks goroutines or
// blocks for ever.
func Play(t *testing.T, s Scenario) Result {
	var r Result
	chance.Simulate()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		w := newWorld(t, s)
		r.Drain = w.run()
		r.Scenario, r.Violations, r.Hash, r.Counts = s, w.check.Violations(), w.check.Hash(), w.check.Counts()
		r.Faults, r.Virtual = w.tally.counts, time.Since(begin)
		r.Report, r.Trace, r.Ties = w.last, w.check.Trace(), w.tally.ties.count()
	})
	return r
}

func newWorld(t *testing.T, s Scenario) *World {
	w := &World{t: t, scenario: s, dice: dice(s.Seed), logged: &logTail{}, faults: enable(s)}
	w.tally.counts = map[string]int{}
	w.check = check.New(check.Rules{
		Overlap: s.Has("freeze"), NoDuplicates: s.Kind == quiet, Loose: s.Decorator != decoratorNone, Failover: s.failover(),
	})
	w.log = slog.New(slog.NewTextHandler(w.logged, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: withoutStack}))
	network := memnet.New()
	t.Cleanup(func() { _ = network.Close() }) // never fails
	eventDelay := w.dice.roll("events").between(5*time.Millisecond, 100*time.Millisecond)
	w.stream = newFeed(t, network, w.check, s.Shards, eventDelay)
	w.table = newTable(w, network)
	w.stream.srv.OnCall(w.call)
	w.greenSince = time.Now()
	return w
}

// run plays the scenario and returns how long the end took.
func (w *World) run() time.Duration {
	defer w.stopAll()
	defer func() {
		if len(w.check.Violations()) > 0 {
			w.last = w.report()
		}
	}()
	// The library draws by the time: see package chance. Each world has instants of its own.
	time.Sleep(w.dice.roll("begin").between(0, time.Second))
	for i := range 1 + w.dice.roll("first").n(w.scenario.Workers) {
		w.start()
		time.Sleep(w.dice.roll("begin", i).between(0, time.Millisecond))
	}
	w.faulty.Store(true)
	for begin := time.Now(); time.Since(begin) < w.scenario.Length; {
		d := w.dice.roll("step", time.Now())
		time.Sleep(d.roll("pause").skewed(100*time.Millisecond, 15*time.Second))
		w.tally.ties.act("world")
		w.stream.produce(d)
		for _, f := range w.stepFaults {
			if f.hits(d, "") {
				w.tally.add(f.name)
				f.step(w, d.roll(f.name, "how"))
			}
		}
		if len(w.live) == 0 {
			w.start()
		}
		w.stream.observe()
		w.supervise()
		w.judge()
		if len(w.check.Violations()) > 0 {
			return 0
		}
	}
	return w.end()
}

// call decides what happens to a call of Kinesis. The call and the answer take time.
func (w *World) call(c *kinesistest.Call) *kinesistest.Fault {
	w.tally.ties.act(c.Client)
	d := w.dice.roll("call", c.Client, c.Operation, c.Shard, time.Now())
	slowest := max(time.Duration(w.latency.Load()), 10*time.Millisecond)
	actions := []kinesistest.Action{
		kinesistest.Delay(d.roll("there").between(time.Millisecond, slowest)),
		kinesistest.DelayAnswer(d.roll("back").between(time.Millisecond, slowest)),
	}
	for _, f := range w.callFaults {
		if f.strikes(w, d, c.Client, c.Operation, c.Shard) {
			actions = append(actions, f.call(d.roll(f.name, "how"))...)
		}
	}
	return &kinesistest.Fault{Do: actions}
}

// after runs end after d, or when the faults end. end runs once.
func (w *World) after(d time.Duration, end func()) {
	end = sync.OnceFunc(end)
	timer := time.AfterFunc(d, end)
	w.undo = append(w.undo, func() {
		timer.Stop()
		end()
	})
}

// heal ends all faults.
func (w *World) heal() {
	w.check.Note("", "heal")
	w.faulty.Store(false)
	w.latency.Store(0)
	w.table.setListLag(0)
	for _, undo := range w.undo {
		undo()
	}
	w.undo = nil
}

// stopAll stops all workers and waits for them.
func (w *World) stopAll() {
	w.heal()
	for _, k := range w.all {
		k.cancel()
	}
	for _, k := range w.all {
		<-k.done
	}
	time.Sleep(longestCall) // for processors that ignore that they were cancelled
}

// report describes the world at its end.
func (w *World) report() string {
	var b strings.Builder
	left, some := w.check.Left()
	fmt.Fprintf(&b, "%d records left: %v\n", left, some)
	for _, k := range w.live {
		b.WriteString(k.dump())
	}
	b.WriteString("last log lines:\n")
	b.WriteString(w.logged.String())
	return b.String()
}

// withoutStack shortens a line of the log.
func withoutStack(_ []string, a slog.Attr) slog.Attr {
	if a.Key == "stack" || a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// logTail keeps the end of the log.
type logTail struct {
	mu    sync.Mutex // guards the field below
	lines []string
}

const logLines = 60

func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) >= 2*logLines {
		l.lines = append(l.lines[:0], l.lines[logLines:]...)
	}
	l.lines = append(l.lines, time.Now().Format("15:04:05.000 ")+string(p))
	return len(p), nil
}

func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}
