package processors

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kinesis-go/kcl"
)

// holder is the checkpointer of a lane. It hears what its processor does between the calls, because
// lanes wait for each other and not for calls.
type holder interface {
	// hold says that the processor keeps records after the call that delivered them.
	hold()
	// report says that the processor has failed with the records that it keeps. nil says that it no
	// longer fails.
	report(err error)
}

func hold(ck kcl.Checkpointer) {
	if h, ok := ck.(holder); ok {
		h.hold()
	}
}

func report(ck kcl.Checkpointer, err error) {
	if h, ok := ck.(holder); ok {
		h.report(err)
	}
}

// skip is a record that the processor inside does not get. before is the record that was delivered
// to the processor inside right before it.
type skip struct{ before, at kcl.ExtendedSequenceNumber }

// limited is the checkpointer that a decorator gives to the processor inside. Checkpoint there
// covers the records that the processor inside got. A position right before skipped records covers
// those too.
type limited struct {
	mu        sync.Mutex // guards the fields below
	outer     kcl.Checkpointer
	delivered kcl.ExtendedSequenceNumber // the last record that the processor inside got
	all       kcl.ExtendedSequenceNumber // delivered, without the records that failed
	last      kcl.ExtendedSequenceNumber // the last position recorded, or the start
	skips     []skip
}

var _ kcl.Checkpointer = (*limited)(nil)

// begin is called at Initialize.
func (l *limited) begin(start kcl.ExtendedSequenceNumber) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered, l.all, l.last = start, start, start
}

func (l *limited) use(outer kcl.Checkpointer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outer = outer
}

// deliver is called before the processor inside gets records up to pos. settle is called after it
// has failed with them, with the last position before the failed records.
func (l *limited) deliver(pos kcl.ExtendedSequenceNumber) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = pos
	l.delivered = later(l.delivered, pos)
}

func (l *limited) settle(done kcl.ExtendedSequenceNumber) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = later(done, l.last)
}

// skip counts the record at pos, after before, as processed. It records pos at once if every record
// before it is recorded.
func (l *limited) skip(ctx context.Context, before, pos kcl.ExtendedSequenceNumber) error {
	l.mu.Lock()
	if n := len(l.skips); n > 0 && l.skips[n-1].at == before {
		l.skips[n-1].at = pos
	} else {
		l.skips = append(l.skips, skip{before, pos})
	}
	l.all = pos
	l.delivered = later(l.delivered, pos)
	at := l.last
	raised := l.raiseLocked(at)
	l.mu.Unlock()
	if raised == at {
		return nil
	}
	return l.CheckpointAt(ctx, at)
}

func (l *limited) raiseLocked(pos kcl.ExtendedSequenceNumber) kcl.ExtendedSequenceNumber {
	for _, s := range l.skips {
		if s.before.Compare(pos) <= 0 {
			pos = later(pos, s.at)
		}
	}
	return pos
}

func (l *limited) hold() { hold(l.outside()) }

func (l *limited) report(err error) { report(l.outside(), err) }

func (l *limited) outside() kcl.Checkpointer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outer
}

func (l *limited) Checkpoint(ctx context.Context) error {
	l.mu.Lock()
	pos := l.all
	l.mu.Unlock()
	if pos.IsZero() || pos.IsSentinel() {
		return nil
	}
	return l.CheckpointAt(ctx, pos)
}

func (l *limited) CheckpointAt(ctx context.Context, pos kcl.ExtendedSequenceNumber) error {
	raised, outer, err := l.check(pos)
	if err != nil {
		return err
	}
	err = outer.CheckpointAt(ctx, raised)
	l.tried(raised, err)
	return err
}

// tried notes a write of pos. A write with an unknown outcome counts as if it had happened, because
// outer accepts no earlier position after it.
func (l *limited) tried(pos kcl.ExtendedSequenceNumber, err error) {
	if errors.Is(err, kcl.ErrInvalidCheckpoint) || errors.Is(err, kcl.ErrLeaseLost) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = later(l.last, pos)
	l.all = later(l.all, l.last)
	// The skip that ends at last stays, because the processor inside may repeat the position before
	// it.
	for len(l.skips) > 0 && l.skips[0].at.Compare(l.last) < 0 {
		l.skips = l.skips[1:]
	}
}

func (l *limited) Prepare(
	ctx context.Context,
	pos kcl.ExtendedSequenceNumber,
	state []byte,
) (kcl.PreparedCheckpointer, error) {
	if pos.IsZero() {
		l.mu.Lock()
		pos = l.all
		l.mu.Unlock()
	}
	raised, outer, err := l.check(pos)
	if err != nil {
		return nil, err
	}
	p, err := outer.Prepare(ctx, raised, state)
	if err != nil {
		return nil, err
	}
	return &prepared{PreparedCheckpointer: p, l: l}, nil
}

// prepared tells its checkpointer of a commit, which counts as a checkpoint.
type prepared struct {
	kcl.PreparedCheckpointer
	l *limited
}

func (p *prepared) Commit(ctx context.Context) error {
	err := p.PreparedCheckpointer.Commit(ctx)
	p.l.tried(p.Pending(), err)
	return err
}

func (l *limited) check(pos kcl.ExtendedSequenceNumber) (kcl.ExtendedSequenceNumber, kcl.Checkpointer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pos.Compare(l.delivered) > 0 {
		return pos, nil, fmt.Errorf("%w: %s is behind %s, the last record delivered to this processor",
			kcl.ErrInvalidCheckpoint, pos, l.delivered)
	}
	return l.raiseLocked(pos), l.outer, nil
}

func later(a, b kcl.ExtendedSequenceNumber) kcl.ExtendedSequenceNumber {
	if b.Compare(a) > 0 {
		return b
	}
	return a
}
