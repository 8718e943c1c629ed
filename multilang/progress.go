package multilang

import (
	"sync"

	"github.com/kinesis-go/kcl"
)

// progress is how far the records were delivered to the processor.
type progress struct {
	mu       sync.Mutex                 // guards the fields below
	batches  int                        // delivered so far
	last     kcl.ExtendedSequenceNumber // of the last batch
	before   kcl.ExtendedSequenceNumber // of the batch before it
	failed   bool                       // the processor failed with the last batch
	ending   bool                       // all is delivered, and the shard has ended
	accepted kcl.ExtendedSequenceNumber // the highest checkpoint
	refusal  error                      // of all further checkpoints
}

// target is a position to checkpoint.
type target struct {
	position kcl.ExtendedSequenceNumber
	all      bool // it was everything that was delivered when the caller asked
	batches  int  // delivered then
}

// deliver notes a batch by the position of its last record.
func (p *progress) deliver(last kcl.ExtendedSequenceNumber) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches++
	p.before, p.last = p.last, last
}

// setFailed notes that the processor failed with the last batch, or gets it again.
func (p *progress) setFailed(failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = failed
}

// end notes that the shard has ended. A checkpoint of everything would be its end from now on,
// which is not written before the processor has agreed.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending, p.refusal = true, nil
}

// refuse refuses all further checkpoints.
func (p *progress) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusal = err
}

// refused returns why checkpoints are refused, or nil.
func (p *progress) refused() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusal
}

// everything returns what may be checkpointed now. The position is zero if there is nothing.
func (p *progress) everything() target {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed {
		return target{position: p.before, all: true, batches: p.batches - 1}
	}
	return target{position: p.last, all: true, batches: p.batches}
}

// wire returns what to send for t now: nil for everything that was delivered. The caller may have
// waited. If more was delivered meanwhile, its target is a number. done says that t is covered
// by an earlier checkpoint.
func (p *progress) wire(t target) (position *kcl.ExtendedSequenceNumber, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !t.all:
		return &t.position, false
	case t.batches == p.batches && !p.failed && !p.ending:
		return nil, false
	case t.position.Compare(p.accepted) <= 0:
		return nil, true
	}
	return &t.position, false
}

// accept notes a checkpoint that the daemon has written.
func (p *progress) accept(position kcl.ExtendedSequenceNumber) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if position.Compare(p.accepted) > 0 {
		p.accepted = position
	}
}
