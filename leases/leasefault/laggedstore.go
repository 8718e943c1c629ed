package leasefault

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// laggedStore is a store whose List lags behind. It notes each row before a write. List takes the
// rows as they are now, and undoes the writes of the last moments.
type laggedStore struct {
	leases.Store
	turn chan struct{} // one slot: the call that fills it writes or lists alone

	mu    sync.Mutex // guards the fields below
	lag   time.Duration
	notes []note // of the writes within the lag, oldest first
}

// note is a row before a write.
type note struct {
	at     time.Time
	key    string
	before *leases.Lease // nil if there was no row
}

func newLaggedStore(store leases.Store) *laggedStore {
	return &laggedStore{Store: store, turn: make(chan struct{}, 1)}
}

func (s *laggedStore) setLag(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag, s.notes = d, nil
}

func (s *laggedStore) hasLag() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lag > 0
}

// alone calls f while no other call of alone runs.
func (s *laggedStore) alone(ctx context.Context, f func() error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	return f()
}

func (s *laggedStore) List(ctx context.Context) (l leases.Listing, err error) {
	if !s.hasLag() {
		return s.Store.List(ctx)
	}
	err = s.alone(ctx, func() error {
		if l, err = s.ListNow(ctx); err == nil {
			l.Leases = s.undo(l.Leases)
		}
		return err
	})
	return l, err
}

// undo returns the rows as they were before the writes of the lag.
func (s *laggedStore) undo(rows []leases.Lease) []leases.Lease {
	byKey := make(map[string]leases.Lease, len(rows))
	for _, row := range rows {
		byKey[row.Key] = row
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked()
	for _, n := range slices.Backward(s.notes) {
		if n.before == nil {
			delete(byKey, n.key)
		} else {
			byKey[n.key] = clone(*n.before)
		}
	}
	return slices.Collect(maps.Values(byKey))
}

// forgetLocked drops the notes that are older than the lag.
func (s *laggedStore) forgetLocked() {
	horizon := time.Now().Add(-s.lag)
	recent := slices.IndexFunc(s.notes, func(n note) bool { return n.at.After(horizon) })
	if recent < 0 {
		recent = len(s.notes)
	}
	s.notes = s.notes[recent:]
}

func (s *laggedStore) Create(ctx context.Context, l leases.Lease) error {
	return s.write(ctx, l.Key, func() error { return s.Store.Create(ctx, l) })
}

func (s *laggedStore) Update(ctx context.Context, u leases.Update) error {
	return s.write(ctx, u.Read.Key, func() error { return s.Store.Update(ctx, u) })
}

func (s *laggedStore) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	return s.write(ctx, read.Key, func() error { return s.Store.Delete(ctx, read, expect) })
}

// write notes the row of key and calls apply. A note does no harm if apply changes nothing.
func (s *laggedStore) write(ctx context.Context, key string, apply func() error) error {
	if !s.hasLag() {
		return apply()
	}
	return s.alone(ctx, func() error {
		row, err := s.Get(ctx, key)
		if _, unreadable := errors.AsType[*leases.RowError](err); unreadable {
			return apply() // no listing shows the row
		}
		before := &row
		if errors.Is(err, leases.ErrNotFound) {
			before = nil
		} else if err != nil {
			return err
		}
		err = apply()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forgetLocked()
		s.notes = append(s.notes, note{at: time.Now(), key: key, before: before})
		return err
	})
}

// clone detaches the slices of a row, which many listings may show.
func clone(l leases.Lease) leases.Lease {
	l.PendingState = slices.Clone(l.PendingState)
	l.Parents = slices.Clone(l.Parents)
	l.Children = slices.Clone(l.Children)
	return l
}
