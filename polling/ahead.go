package polling

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl"
)

// outcome is what one attempt to get a batch came to.
type outcome struct {
	batch    kcl.Batch
	payload  int // bytes
	op       string
	err      error
	at       time.Time // when it ended
	opened   bool      // an iterator was obtained
	received bool      // GetRecords was answered
	grant    grant
	headers  time.Time // when the answer began to arrive
	length   int64     // of that answer; below 0 it is not known
}

// ahead is an attempt that is made while the loop body has the last batch. It
// is one attempt and no more: what follows from an error is decided on the
// goroutine of the reader, when the loop body comes back.
type ahead struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when out is there
	out    outcome
}

// readAhead begins to read the next batch, if there is room for it. Until the
// attempt has been joined, by attempted or abandon, the reader's state belongs
// to its goroutine.
func (r *reader) readAhead(ctx context.Context) {
	if r.PrefetchBytes < 0 || r.ending.said || !r.Memory.roomAhead() {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{cancel: cancel, done: make(chan struct{})}
	r.ahead = a
	go func() { // ends with its one attempt, or when that is cancelled; joined before the reader goes on
		defer close(a.done)
		a.out = r.attempt(ctx, r.limit(min(answerBytes, r.PrefetchBytes)), true)
	}()
}

// limit is how many records to ask for, to get about that many bytes.
func (r *reader) limit(bytes int) int {
	if r.recordSize == 0 {
		return r.MaxRecords
	}
	return min(r.MaxRecords, max(1, bytes/r.recordSize))
}

// attempted returns what was read ahead, or makes an attempt now.
func (r *reader) attempted(ctx context.Context) outcome {
	if a := r.ahead; a != nil {
		<-a.done
		a.cancel()
		r.ahead = nil
		if !errors.Is(a.out.err, errNoRoom) {
			return a.out
		}
	}
	return r.attempt(ctx, r.limit(answerBytes), false)
}

// abandon joins what reads ahead, and moves nothing.
func (r *reader) abandon() {
	if a := r.ahead; a != nil {
		a.cancel()
		<-a.done
		a.out.grant.free()
		r.ahead = nil
	}
	r.grant.free()
}
