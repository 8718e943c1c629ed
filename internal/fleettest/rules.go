package fleettest

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/holder"
)

// Begin notes that a consumer of the worker starts, and returns the last processed record by the
// lease. A consumer of a test's own calls Begin, Deliver and End.
func (w *Worker) Begin(h *holder.Holder) int {
	f, key := w.f, h.Lease().Key
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shardLocked(key)
	s.reading[w.ID]++
	if s.reading[w.ID] > 1 {
		f.problemLocked("%s reads %s twice", w.ID, key)
	}
	s.holders[w] = h
	at, err := strconv.Atoi(h.Lease().Checkpoint.SequenceNumber)
	if err != nil {
		return 0
	}
	if at < s.acked {
		f.problemLocked("%s begins %s at %d, but the checkpoint at %d was accepted", w.ID, key, at, s.acked)
	}
	return at
}

// End notes that a consumer of the worker ends.
func (w *Worker) End(key string) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	s := w.f.shardLocked(key)
	s.reading[w.ID]--
	delete(s.holders, w) // it may be valid until the answer to its release is there
}

// Reads tells whether a consumer of the worker reads a shard now.
func (w *Worker) Reads(key string) bool {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	return w.f.shardLocked(key).reading[w.ID] > 0
}

// Deliver notes that the worker processes record n of a shard, and checks that it may.
func (w *Worker) Deliver(key string, n int) {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.killed {
		return
	}
	s := f.shardLocked(key)
	for other, h := range s.holders {
		if other != w && h.Valid() {
			f.problemLocked("%s and %s both hold %s", other.ID, w.ID, key)
		}
	}
	now := time.Now()
	switch {
	case n > s.Done+1:
		f.problemLocked("%s skipped from record %d to %d of %s", w.ID, s.Done, n, key)
	case n <= s.Done:
		s.Repeats++
	default:
		s.Rewound = ""
	}
	s.Done = max(s.Done, n)
	if s.Reader != "" {
		s.Gap = max(s.Gap, now.Sub(s.At))
		if s.Reader != w.ID {
			s.Moves++
			if n <= s.acked {
				f.problemLocked("%s delivered record %d of %s, which %s had checkpointed up to %d",
					w.ID, n, key, s.Reader, s.acked)
			}
		}
	}
	s.Reader, s.At = w.ID, now
}

// Acknowledged notes the answer err to a checkpoint of record n. After an accepted checkpoint every
// later holder must start there or later.
func (w *Worker) Acknowledged(key string, n int, err error) {
	if err == nil {
		w.f.mu.Lock()
		defer w.f.mu.Unlock()
		s := w.f.shardLocked(key)
		s.acked = max(s.acked, n)
	}
}

// checkpointed checks that a checkpoint failed only for a good reason.
func (w *Worker) checkpointed(key string, err error) {
	if err != nil && !errors.Is(err, kcl.ErrLeaseLost) && !errors.Is(err, kcl.ErrShutdownTimeout) {
		w.f.mu.Lock()
		defer w.f.mu.Unlock()
		w.f.problemLocked("%s: checkpoint of %s: %v", w.ID, key, err)
	}
}

// Rewind lets the next holders of a shard begin anywhere. why says what happened to its row.
func (f *Fleet) Rewind(key, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shardLocked(key)
	s.acked, s.Rewound = 0, why
}

// ForgetProblems forgets the broken rules up to now.
func (f *Fleet) ForgetProblems() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problems = nil
}

func (f *Fleet) problemLocked(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}
