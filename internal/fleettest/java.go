package fleettest

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// JavaWorker speaks the protocol of the Java KCL 3.x, as the Java sources have it. It reports each
// 30 s, renews each 3.3 s, and asks the index each 10 s. It hands over when it is asked to, and
// does not give its leases back.
type JavaWorker struct {
	// Finishing is how long a record processor takes to shut down.
	Finishing time.Duration
	// Lead lets the worker try to be the leader.
	Lead bool
	// CPU is the value of its sensor; nil for no sensor.
	CPU *atomic.Int64

	f      *KCL3Fleet
	id     string
	store  *dynamodb.Store
	cancel context.CancelFunc
	done   chan struct{}

	// The goroutine of run owns the fields below.
	held map[string]*javaLease
	lock *leases.LeaderLock
	seen struct {
		version string
		since   time.Time
	}
	counters map[string]javaSighting
}

type javaLease struct {
	row     leases.Lease
	leaving time.Time // when the processor will have shut down; zero: it was not asked to
}

type javaSighting struct {
	counter int64
	since   time.Time
}

// Java starts a JavaWorker. It stops at the end of the test. change may adapt it before.
func (f *KCL3Fleet) Java(id string, change ...func(*JavaWorker)) *JavaWorker {
	store := f.Open(id, func(c *dynamodb.Config) { c.Logger = slog.New(slog.DiscardHandler) })
	j := &JavaWorker{
		Finishing: time.Second, f: f, id: id, store: store, done: make(chan struct{}),
		held: map[string]*javaLease{}, counters: map[string]javaSighting{},
	}
	for _, c := range change {
		c(j)
	}
	ctx, cancel := context.WithCancel(context.Background())
	j.cancel = cancel
	go func() { // ends with Stop
		defer close(j.done)
		j.run(ctx)
	}()
	f.T.Cleanup(j.Stop)
	return j
}

// Stop stops the worker as the Java KCL does: it releases the lock, and keeps its leases.
func (j *JavaWorker) Stop() {
	j.cancel()
	<-j.done
}

// Kill ends the process of the worker, as far as others can tell.
func (j *JavaWorker) Kill() { j.f.Server.Network().Host(j.id).Kill() }

func (j *JavaWorker) run(ctx context.Context) {
	var reported, renewed, discovered, beat, tried, assigned time.Time
	var samples []float64
	for ctx.Err() == nil {
		now := time.Now()
		due := func(at *time.Time, every time.Duration) bool {
			if !at.IsZero() && now.Sub(*at) < every {
				return false
			}
			*at = now
			return true
		}
		if due(&reported, 30*time.Second) {
			m := leases.WorkerMetrics{
				Worker: j.id, Updated: now.Truncate(time.Second), Support: 1, SupportUpdated: now.Truncate(time.Second),
				Stats: map[string][]float64{}, Range: map[string][]float64{},
			}
			if j.CPU != nil {
				samples = append(samples, float64(j.CPU.Load()))
				samples = samples[max(0, len(samples)-10):]
				m.Stats["C"], m.Range["C"] = samples, []float64{100}
			}
			_ = j.store.Fleet().ReportWorker(ctx, m)
		}
		if due(&renewed, 3308*time.Millisecond) {
			for _, l := range j.held {
				j.renew(ctx, l)
			}
		}
		for _, l := range j.held {
			if !l.leaving.IsZero() && !now.Before(l.leaving) {
				j.transfer(ctx, l)
			}
		}
		if due(&discovered, 9975*time.Millisecond) {
			j.discover(ctx)
		}
		if j.Lead {
			if j.lock == nil && due(&tried, 30*time.Second) {
				j.campaign(ctx)
			}
			if j.lock != nil && due(&beat, 30*time.Second) {
				j.heartbeat(ctx)
			}
			if j.lock != nil && due(&assigned, 20*time.Second) {
				j.assign(ctx)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
	if j.lock != nil {
		_ = j.store.Fleet().ReleaseLeader(context.Background(), *j.lock)
	}
}

// renew is the operation R of the protocol, with its handling of failures.
func (j *JavaWorker) renew(ctx context.Context, l *javaLease) {
	to := l.row
	to.Counter++
	u := leases.Update{
		Read: l.row, Expect: leases.AttrCounter | leases.AttrCheckpointOwner, To: to, Set: leases.AttrCounter,
	}
	if l.row.CheckpointOwner != "" {
		u.Expect = leases.AttrCounter
	}
	err := j.store.Update(ctx, u)
	conflict, ok := errors.AsType[*leases.ConflictError](err)
	switch {
	case err == nil:
		l.row = to
	case !ok: // tried again next time
	case conflict.Current != nil && l.row.CheckpointOwner == "" &&
		conflict.Current.CheckpointOwner == j.id && conflict.Current.Owner != j.id:
		l.row.CheckpointOwner, l.row.Owner = j.id, conflict.Current.Owner
		l.leaving = time.Now().Add(j.Finishing)
		j.renew(ctx, l)
	default:
		delete(j.held, l.row.Key)
	}
}

// transfer is the operation A of the protocol, by the old owner.
func (j *JavaWorker) transfer(ctx context.Context, l *javaLease) {
	to := l.row
	to.CheckpointOwner = ""
	to.Counter++
	err := j.store.Update(ctx, leases.Update{
		Read: l.row, Expect: leases.AttrOwner | leases.AttrCheckpointOwner, To: to,
		Set: leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter,
	})
	if _, conflict := errors.AsType[*leases.ConflictError](err); err == nil || conflict {
		delete(j.held, l.row.Key)
	}
}

// discover is the LeaseDiscoverer.
func (j *JavaWorker) discover(ctx context.Context) {
	keys, err := j.store.Fleet().OwnedBy(ctx, j.id)
	if err != nil {
		return
	}
	for _, key := range keys {
		if j.held[key] != nil {
			continue
		}
		row, err := j.store.Get(ctx, key)
		if err == nil && row.Owner == j.id && row.CheckpointOwner == "" {
			j.held[key] = &javaLease{row: row}
		}
	}
}
