package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// Store is a lease table in memory. The zero value is not usable; see [New].
// It is safe for concurrent use, and every value that goes in or out is copied.
type Store struct {
	mu      sync.Mutex // guards the fields below
	rows    map[string]leases.Lease
	bad     map[string]error
	dropped bool
	lag     time.Duration
	history map[string][]version
}

// version is what a row was from a moment on; nil for no row.
type version struct {
	since time.Time
	row   *leases.Lease
}

var _ leases.Store = (*Store)(nil)

// New returns an empty table.
func New() *Store {
	return &Store{rows: map[string]leases.Lease{}, bad: map[string]error{}, history: map[string][]version{}}
}

// Init makes the table again after [Store.Drop]; a new Store needs no Init.
func (s *Store) Init(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = false
	return nil
}

// List implements [leases.Store].
func (s *Store) List(ctx context.Context) (leases.Listing, error) {
	return s.list(ctx, s.seenLocked)
}

// ListNow implements [leases.Store]. [Store.SetListLag] does not concern it.
func (s *Store) ListNow(ctx context.Context) (leases.Listing, error) {
	return s.list(ctx, func() []leases.Lease { return slices.Collect(maps.Values(s.rows)) })
}

func (s *Store) list(ctx context.Context, rowsLocked func() []leases.Lease) (leases.Listing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(ctx); err != nil {
		return leases.Listing{}, err
	}
	var l leases.Listing
	for key, err := range s.bad {
		l.Bad = append(l.Bad, &leases.RowError{Key: key, Err: err})
	}
	for _, row := range rowsLocked() {
		if s.bad[row.Key] == nil {
			l.Leases = append(l.Leases, clone(row))
		}
	}
	slices.SortFunc(l.Bad, func(a, b *leases.RowError) int { return cmp.Compare(a.Key, b.Key) })
	return l, nil
}

// Get implements [leases.Store].
func (s *Store) Get(ctx context.Context, key string) (leases.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(ctx); err != nil {
		return leases.Lease{}, err
	}
	if err := s.bad[key]; err != nil {
		return leases.Lease{}, &leases.RowError{Key: key, Err: err}
	}
	row, ok := s.rows[key]
	if !ok {
		return leases.Lease{}, fmt.Errorf("get lease %q: %w", key, leases.ErrNotFound)
	}
	return clone(row), nil
}

// Create implements [leases.Store].
func (s *Store) Create(ctx context.Context, l leases.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(ctx); err != nil {
		return err
	}
	if err := s.bad[l.Key]; err != nil {
		return &leases.RowError{Key: l.Key, Err: err}
	}
	if row, ok := s.rows[l.Key]; ok {
		return conflict(row)
	}
	s.putLocked(l)
	return nil
}

// Update implements [leases.Store].
func (s *Store) Update(ctx context.Context, u leases.Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(ctx); err != nil {
		return err
	}
	key := u.Read.Key
	if err := s.bad[key]; err != nil {
		return &leases.RowError{Key: key, Err: err}
	}
	row, ok := s.rows[key]
	if !ok {
		return &leases.ConflictError{Key: key}
	}
	if !row.Same(u.Expect, u.Read) {
		return conflict(row)
	}
	s.putLocked(row.With(u.Set, u.To))
	return nil
}

// Delete implements [leases.Store].
func (s *Store) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(ctx); err != nil {
		return err
	}
	row, ok := s.rows[read.Key]
	if !ok {
		return nil
	}
	if !row.Same(expect, read) {
		return conflict(row)
	}
	s.deleteLocked(read.Key)
	return nil
}

// SetListLag makes List show the table as it was d ago, as an eventually
// consistent scan does. Get and the writes still see the latest rows. 0, the
// default, ends it.
func (s *Store) SetListLag(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = d
	s.history = map[string][]version{}
	for key, row := range s.rows {
		s.history[key] = []version{{row: &row}}
	}
}

// Poison makes the row of key unreadable, like one that a faulty program
// wrote; a nil err repairs it. The other rows are not affected.
func (s *Store) Poison(key string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.bad, key)
		return
	}
	s.bad[key] = err
}

// Drop deletes the table with all its rows. Every call but Init then answers
// [leases.ErrTableNotFound].
func (s *Store) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = true
	clear(s.rows)
	clear(s.bad)
	clear(s.history)
}

func (s *Store) usableLocked(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.dropped {
		return fmt.Errorf("memory: %w", leases.ErrTableNotFound)
	}
	return nil
}

func (s *Store) putLocked(l leases.Lease) {
	l = clone(l)
	s.rows[l.Key] = l
	s.recordLocked(l.Key, &l)
}

func (s *Store) deleteLocked(key string) {
	delete(s.rows, key)
	s.recordLocked(key, nil)
}

func (s *Store) recordLocked(key string, row *leases.Lease) {
	if s.lag == 0 {
		return
	}
	now := time.Now()
	h := s.history[key]
	h = append(h, version{since: now, row: row})
	for len(h) > 1 && !h[1].since.After(now.Add(-s.lag)) {
		h = h[1:]
	}
	s.history[key] = h
}

// seenLocked returns the rows that List shows, in no order.
func (s *Store) seenLocked() []leases.Lease {
	var rows []leases.Lease
	if s.lag == 0 {
		for _, row := range s.rows {
			rows = append(rows, row)
		}
		return rows
	}
	horizon := time.Now().Add(-s.lag)
	for _, h := range s.history {
		var seen *leases.Lease
		for _, v := range h {
			if !v.since.After(horizon) {
				seen = v.row
			}
		}
		if seen != nil {
			rows = append(rows, *seen)
		}
	}
	return rows
}

func conflict(row leases.Lease) error {
	row = clone(row)
	return &leases.ConflictError{Key: row.Key, Current: &row}
}

// clone detaches the slices and reduces the value to what a real table keeps:
// no empty sets, times in milliseconds.
func clone(l leases.Lease) leases.Lease {
	l.PendingState = emptyNil(l.PendingState)
	l.Parents = emptyNil(l.Parents)
	l.Children = emptyNil(l.Children)
	l.PinnedAt = millis(l.PinnedAt)
	l.StreamCreated = millis(l.StreamCreated)
	l.Origin.At = millis(l.Origin.At)
	l.Reached = millis(l.Reached)
	return l
}

func emptyNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

func millis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}
