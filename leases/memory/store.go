package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// Store is a lease table in memory. The zero value is not usable; see [New]. It is safe for
// concurrent use. It copies every value that goes in or out.
type Store struct {
	mu   sync.Mutex // guards the field below
	rows map[string]leases.Lease
}

var _ leases.Store = (*Store)(nil)

// New returns an empty table.
func New() *Store { return &Store{rows: map[string]leases.Lease{}} }

// Init implements [leases.Store]. It does nothing: a new Store can be used at once.
func (s *Store) Init(ctx context.Context) error { return ended(ctx) }

// List implements [leases.Store]. It shows all accepted writes, like ListNow.
func (s *Store) List(ctx context.Context) (leases.Listing, error) { return s.ListNow(ctx) }

// ListNow implements [leases.Store].
func (s *Store) ListNow(ctx context.Context) (leases.Listing, error) {
	if err := ended(ctx); err != nil {
		return leases.Listing{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var l leases.Listing
	for _, row := range s.rows {
		l.Leases = append(l.Leases, clone(row))
	}
	return l, nil
}

// Get implements [leases.Store].
func (s *Store) Get(ctx context.Context, key string) (leases.Lease, error) {
	if err := ended(ctx); err != nil {
		return leases.Lease{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.rows[key]
	if !ok {
		return leases.Lease{}, fmt.Errorf("get lease %q: %w", key, leases.ErrNotFound)
	}
	return clone(row), nil
}

// Create implements [leases.Store].
func (s *Store) Create(ctx context.Context, l leases.Lease) error {
	if err := ended(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if row, ok := s.rows[l.Key]; ok {
		return conflict(row)
	}
	s.rows[l.Key] = clone(l)
	return nil
}

// Update implements [leases.Store].
func (s *Store) Update(ctx context.Context, u leases.Update) error {
	if err := ended(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.rows[u.Read.Key]
	if !ok {
		return &leases.ConflictError{Key: u.Read.Key}
	}
	if !row.Same(u.Expect, u.Read) {
		return conflict(row)
	}
	s.rows[row.Key] = clone(row.With(u.Set, u.To))
	return nil
}

// Delete implements [leases.Store].
func (s *Store) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	if err := ended(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.rows[read.Key]
	if !ok {
		return nil
	}
	if !row.Same(expect, read) {
		return conflict(row)
	}
	delete(s.rows, read.Key)
	return nil
}

// ended returns the cause with which ctx ended; nil while ctx goes on.
func ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func conflict(row leases.Lease) error {
	row = clone(row)
	return &leases.ConflictError{Key: row.Key, Current: &row}
}

// clone returns a copy of a row that shares no memory with l. Like a real table, it keeps no empty
// sets, and times in milliseconds.
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

// emptyNil returns a copy of s, and nil for an empty s.
func emptyNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

// millis returns t in whole milliseconds and UTC, and leaves a zero t zero.
func millis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}
