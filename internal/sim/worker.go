package sim

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

const (
	streamName  = "orders"
	application = "app"
)

// worker is one Scheduler with a network host and a view of the lease table of its own.
type worker struct {
	*scheduler.Scheduler
	w       *World
	name    string
	log     *slog.Logger
	started time.Time
	cancel  context.CancelFunc
	done    chan struct{} // closed when Run has returned err
	err     error

	dead   atomic.Bool
	lost   atomic.Bool                   // the table cannot be reached
	frozen atomic.Pointer[chan struct{}] // closed at the end of the freeze; nil without one
}

// start makes a worker and runs it.
func (w *World) start() {
	name := fmt.Sprintf("w%d", w.born)
	w.born++
	k := &worker{w: w, name: name, log: w.log.With("worker", name), started: time.Now(), done: make(chan struct{})}
	cfg := scheduler.Config{
		Application: application,
		WorkerID:    name,
		Streams: []scheduler.StreamConfig{
			{Name: streamName, InitialPosition: kcl.InitialPosition{Kind: w.scenario.Start}},
		},
		Kinesis: awstest.Kinesis(w.t, w.stream.srv, func(o *kinesis.Options) {
			o.HTTPClient = w.stream.srv.HTTPClientFrom(name)
		}),
		Leases:        w.table.store(k),
		Logger:        k.log,
		RetrievalMode: w.scenario.Mode,
		FailoverTime:  w.scenario.failover(),
		// What this machine is doing must not decide.
		DisableWorkerMetrics: true,
	}
	if w.scenario.autoCheckpoints() {
		cfg.CheckpointInterval = 2 * time.Second
	}
	k.Scheduler = scheduler.New(cfg, func(_ kcl.StreamIdentifier, shard kcl.Shard) kcl.Processor {
		return k.newProcessor(shard.ID)
	})
	w.stream.srv.SetLatency(name, w.dice.roll("line", name).between(500*time.Microsecond, 5*time.Millisecond))
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	w.check.Note("", "start %s", name)
	w.changed = time.Now()
	w.live = append(w.live, k)
	w.all = append(w.all, k)
	go func() { // ends with Run, which finish waits for
		defer close(k.done)
		k.err = k.Run(ctx)
	}()
}

// kill is what kill -9 looks like inside one process: table and network fall silent for ever, and
// what the processors still do does not count.
func (k *worker) kill() {
	// The table first: a record that no longer counts must not be checkpointed.
	k.w.changed = time.Now()
	k.dead.Store(true)
	k.w.stream.srv.Kill(k.name)
	k.w.check.Kill(k.name)
	k.thaw()
	k.cancel()
}

func (k *worker) thaw() {
	if gate := k.frozen.Swap(nil); gate != nil {
		close(*gate)
	}
}

// whileFrozen waits until the worker is not frozen.
func (k *worker) whileFrozen() {
	for gate := k.frozen.Load(); gate != nil; gate = k.frozen.Load() {
		<-*gate
	}
}

// wrote notes that the worker has got the answer to a write.
func (k *worker) wrote(u leases.Update, sent time.Time) {
	if u.Set&leases.AttrCounter != 0 {
		k.w.check.Reasons.Renewed(k.name, u.Read.Key, sent)
	}
}

// callTable is what happens to each call of the lease table. The call and the answer take time.
func (k *worker) callTable(ctx context.Context, call leasefault.Call, apply func() error) error {
	w := k.w
	d := w.dice.roll("table", k.name, call.Op, call.Key, time.Now())
	if err := retry.Sleep(ctx, d.roll("there").between(time.Millisecond, 10*time.Millisecond)); err != nil {
		return err
	}
	w.tally.ties.act(k.name)
	if k.frozen.Load() != nil {
		k.whileFrozen()
		_ = apply() // it was under way, and the caller has gone meanwhile
		return errTable
	}
	switch {
	case k.dead.Load() || k.lost.Load():
		return leasefault.Silent(ctx, call, apply)
	case w.outage.on.Load():
		if w.outage.silent.Load() {
			return leasefault.Silent(ctx, call, apply)
		}
		return errTable
	}
	guarded := func() error {
		if k.dead.Load() {
			return errTable // a write of a killed worker that is still under way
		}
		return apply()
	}
	for _, f := range w.tableFaults {
		if f.table != nil && f.strikes(w, d, k.name, call.Op, call.Key) {
			return f.table(d.roll(f.name, "how"))(ctx, call, guarded)
		}
	}
	err := guarded()
	if err := retry.Sleep(ctx, d.roll("back").between(time.Millisecond, 10*time.Millisecond)); err != nil {
		return err
	}
	return err
}

// dump describes the worker for a report.
func (k *worker) dump() string {
	text := fmt.Sprintf("%s healthy: %v\n", k.name, k.Healthy())
	for _, st := range k.Status().Streams {
		for _, sh := range st.Shards {
			if sh.State != scheduler.StateNone {
				behind, known := sh.Behind()
				text += fmt.Sprintf("  %s %s %s records=%d position=%s behind=%s (%t) err=%v\n", sh.ShardID, sh.State, sh.Mode,
					sh.Records, sh.Position, behind, known, sh.Err)
			}
		}
	}
	return text
}
