package polling

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl"
)

// outcome is the result of one attempt to get a batch.
type outcome struct {
	batch    kcl.Batch
	payload  int // bytes
	op       string
	err      error
	at       time.Time // when the attempt ended
	opened   bool      // the attempt got an iterator
	received bool      // GetRecords was answered
	grant    grant
	headers  time.Time // when the answer began to arrive
	length   int64     // of the answer in bytes; negative if unknown
}

// ahead is an attempt to get the next batch while the loop body has the last one. It is one
// attempt. The goroutine of the reader decides about an error when the loop body comes back.
type ahead struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when out is set
	out    outcome
}

// readAhead starts an attempt to get the next batch, if there is room for it. The reader's state
// belongs to the attempt's goroutine until nextOutcome or abandon has joined it.
func (r *reader) readAhead(ctx context.Context) {
	if r.PrefetchBytes < 0 || r.ending.endSent || !r.Memory.roomAhead() {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{cancel: cancel, done: make(chan struct{})}
	r.ahead = a
	go func() { // ends with its one attempt, or when that is cancelled; joined before the reader goes on
		defer close(a.done)
		a.out = r.attempt(ctx, r.recordLimit(min(answerBytes, r.PrefetchBytes)), true)
	}()
}

// recordLimit is how many records to ask for, to get about the given number of bytes.
func (r *reader) recordLimit(bytes int) int {
	if r.recordSize == 0 {
		return min(r.MaxRecords, firstRecords)
	}
	return min(r.MaxRecords, max(1, bytes/r.recordSize))
}

// nextOutcome returns the outcome of the attempt that was made ahead, or makes an attempt now.
func (r *reader) nextOutcome(ctx context.Context) outcome {
	if a := r.ahead; a != nil {
		<-a.done
		a.cancel()
		r.ahead = nil
		if !errors.Is(a.out.err, errNoRoom) {
			return a.out
		}
	}
	return r.attempt(ctx, r.recordLimit(answerBytes), false)
}

// abandon joins the attempt that was made ahead and drops its batch.
func (r *reader) abandon() {
	if a := r.ahead; a != nil {
		a.cancel()
		<-a.done
		a.out.grant.free()
		r.ahead = nil
	}
	r.grant.free()
}
