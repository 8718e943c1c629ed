package sim

import (
	"slices"
	"time"

	"github.com/kinesis-go/kcl/internal/sim/check"
	"github.com/kinesis-go/kcl/kinesistest"
)

// pick returns a live worker.
func (w *World) pick(d dice) *worker { return w.live[d.roll("worker").n(len(w.live))] }

func (w *World) remove(k *worker) {
	w.live = slices.DeleteFunc(w.live, func(l *worker) bool { return l == k })
}

func (w *World) killOne(d dice) {
	if len(w.live) > 0 {
		k := w.pick(d)
		w.remove(k)
		k.kill()
	}
}

func (w *World) stopOne(d dice) {
	if len(w.live) > 1 {
		k := w.pick(d)
		w.remove(k)
		w.stop(k)
	}
}

// stop stops a worker, and checks later that it has stopped in time (L6).
func (w *World) stop(k *worker) {
	w.check.Note("", "stop %s", k.name)
	w.check.Reasons.Stopping(k.name)
	w.changed = time.Now()
	k.cancel()
	asked := time.Now()
	late := w.scenario.Has("freeze") // a frozen worker cannot stop
	go func() {                      // ends with Run
		<-k.done
		if took := time.Since(asked); took > 27*time.Second && !late && !k.dead.Load() {
			w.check.Violate("L6", "", "%s took %s to stop", k.name, took)
		}
		w.checkReleased(k)
	}()
}

// checkReleased checks that no row names a worker that has stopped (L6). It leaves swarms out,
// whose tables can fail.
func (w *World) checkReleased(k *worker) {
	if w.scenario.Kind == swarm || k.dead.Load() {
		return
	}
	for _, sh := range w.stream.srv.Shards(streamName) {
		row, ok := w.check.Row(sh.ID)
		if ok && !row.Finished() && (check.WorkerOf(row.Owner) == k.name || check.WorkerOf(row.CheckpointOwner) == k.name) {
			w.check.Violate("L6", sh.ID, "%s has stopped, and the row still names it", k.name)
		}
	}
}

func (w *World) startOne() {
	if len(w.live) < w.scenario.Workers {
		w.start()
	}
}

func (w *World) partition(d dice, long time.Duration) {
	if len(w.live) == 0 {
		return
	}
	k := w.pick(d)
	w.check.Note("", "partition of %s for %s", k.name, long)
	w.after(long, w.stream.srv.Partition(k.name))
}

func (w *World) loseTable(d dice, long time.Duration) {
	if len(w.live) == 0 {
		return
	}
	k := w.pick(d)
	w.check.Note("", "%s loses the table for %s", k.name, long)
	w.after(long, w.table.lose(k))
}

// freezeOne stops a worker for a while, with its calls under way.
func (w *World) freezeOne(d dice, long time.Duration) {
	if len(w.live) == 0 {
		return
	}
	k := w.pick(d)
	gate := make(chan struct{})
	if !k.frozen.CompareAndSwap(nil, &gate) {
		return
	}
	w.check.Note("", "freeze %s for %s", k.name, long)
	thaw := w.stream.srv.Freeze(func(c *kinesistest.Call) bool { return c.Client == k.name })
	thawTable := w.table.freeze(k)
	w.after(long, func() {
		thaw()
		thawTable()
		k.thaw()
	})
}

func (w *World) loseTableForAll(long time.Duration, silent bool) {
	w.check.Note("", "lease table is down for %s, silent: %t", long, silent)
	w.outage.silent.Store(silent)
	w.outage.on.Store(true)
	w.after(long, func() { w.outage.on.Store(false) })
}

// breakRow makes a row unreadable for a while.
func (w *World) breakRow(d dice, long time.Duration) {
	all := w.stream.srv.Shards(streamName)
	if len(all) == 0 {
		return
	}
	key := all[d.roll("row").n(len(all))].ID
	w.check.Note(key, "the row cannot be read for %s", long)
	w.after(long, w.table.breakRow(key))
}

// dayOff stops all workers for about a day. Some records and shards leave the retention period.
func (w *World) dayOff(d dice) {
	for _, k := range w.live {
		w.stop(k)
	}
	w.live = nil
	was := w.stream.srv.Shards(streamName)
	off := d.roll("off").between(23*time.Hour+30*time.Minute, 25*time.Hour)
	w.check.Note("", "nobody works for %s", off)
	time.Sleep(off)
	w.stream.observeRetention(was)
	w.start()
}

// supervise starts a worker in place of each one whose Run has ended by itself, as Kubernetes does.
func (w *World) supervise() {
	for _, k := range slices.Clone(w.live) {
		select {
		case <-k.done:
			w.check.Note("", "%s ended by itself: %v", k.name, k.err)
			if k.err == nil {
				w.check.Violate("L6", "", "%s ended by itself without an error", k.name)
			}
			w.remove(k)
			w.start()
		default:
		}
	}
}
