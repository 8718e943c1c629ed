package election

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// Config configures an [Elector]. All fields but Metrics are required.
type Config struct {
	// Store keeps the lock.
	Store leases.LeaderLocks
	// WorkerID names this worker in the lock.
	WorkerID string
	// Clock tells how long this worker may rely on its lock.
	Clock *trust.Clock
	// Log gets changes of leader and problems.
	Log *slog.Logger
	// Metrics may be nil.
	Metrics *metrics.Metrics
	// Timeout is the deadline of one call of the store.
	Timeout time.Duration
	// Elected is called when this worker has become the leader. The goroutine in Run calls it.
	Elected func()
	// LastCalls returns the context of the calls that release the lock after Run's context has
	// ended.
	LastCalls func() context.Context
}

// Elector is this worker's part in the election of the leader. Run does the work. The other
// methods are safe for concurrent use.
type Elector struct {
	cfg      Config
	resigned chan struct{}

	// Belongs to the goroutine in Run.
	unconfirmed []lockTerm // writes of the lock whose outcome is not known

	mu     sync.Mutex // guards the fields below
	term   *lockTerm  // nil unless this worker is the leader
	terms  int        // the number of this worker's terms as the leader
	leader string     // the leader's id; empty when it is not known
}

// resignPause is how long a worker that has resigned leaves the lock to others.
const resignPause = 3 * kcl3.LockHeartbeat

// New returns an Elector that does not run yet.
func New(cfg Config) *Elector { return &Elector{cfg: cfg, resigned: make(chan struct{}, 1)} }

// Leads tells whether this worker may act as the leader now, and in which of its terms.
func (e *Elector) Leads() (term int, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.terms, e.term != nil && e.term.holds(e.cfg.Clock.Now())
}

// Lock returns the lock as this worker holds it. ok is false when it does not.
func (e *Elector) Lock() (leases.LeaderLock, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.term == nil || !e.term.holds(e.cfg.Clock.Now()) {
		return leases.LeaderLock{}, false
	}
	return e.term.lock, true
}

// Leader returns the leader's id; empty when it is not known.
func (e *Elector) Leader() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leader
}

// Resign lets Run release the lock, because the leader's work has failed and others may succeed. It
// does not block.
func (e *Elector) Resign() {
	select {
	case e.resigned <- struct{}{}:
	default:
	}
}

// Run takes part in the election until ctx ends. Then it releases the lock, even one that this
// worker acquired with a write whose answer was lost.
func (e *Elector) Run(ctx context.Context) {
	defer func() { e.warnUnreleased(e.releaseSent(e.cfg.LastCalls())) }()
	var watch kcl3.LockWatch
	for ctx.Err() == nil {
		term, err := e.campaign(ctx, &watch)
		if err != nil {
			return
		}
		select { // a request from an earlier term does not count
		case <-e.resigned:
		default:
		}
		if !e.keepLock(ctx, term) {
			_ = retry.Sleep(ctx, resignPause)
		}
	}
}

// startTerm makes this worker the leader, by the lock t that it has acquired.
func (e *Elector) startTerm(t lockTerm) {
	e.unconfirmed = nil
	e.mu.Lock()
	e.term, e.leader = &t, e.cfg.WorkerID
	e.terms++
	e.mu.Unlock()
	e.cfg.Log.Info("worker leads the fleet", "leader", e.cfg.WorkerID)
	e.cfg.Metrics.SetLeader(true)
	e.cfg.Elected()
}

// endTerm ends this worker's term as the leader, if there is one.
func (e *Elector) endTerm() {
	e.mu.Lock()
	was := e.term != nil
	if was {
		e.term, e.leader = nil, ""
	}
	e.mu.Unlock()
	if was {
		e.cfg.Log.Info("worker no longer leads the fleet")
		e.cfg.Metrics.SetLeader(false)
	}
}

// setLeader keeps the leader that the lock names. A free lock names none.
func (e *Elector) setLeader(lock *leases.LeaderLock, free bool) {
	leader := ""
	if lock != nil && !free {
		leader = lock.Owner
	}
	e.mu.Lock()
	old := e.leader
	e.leader = leader
	e.mu.Unlock()
	if leader != old && leader != "" {
		e.cfg.Log.Info("fleet is led by another worker", "leader", leader)
	}
}
