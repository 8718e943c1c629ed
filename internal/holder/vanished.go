package holder

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// A row that is deleted again and again is deleted on purpose. After maxRecreated re-creations
// within recreatedTime its shard is left alone.
const (
	maxRecreated  = 3
	recreatedTime = time.Hour
)

// VanishedError says that a row vanished under its holder, which could not make it again. This
// worker does not read the shard then.
type VanishedError struct {
	// Held is the row as the worker held it. Its Checkpoint is the position in the shard.
	Held leases.Lease
	// Current is the row in its place, which starts behind Held; nil when the row was deleted too
	// often to be made again.
	Current *leases.Lease
	// Since is when the worker noticed that, by the local clock.
	Since time.Time
}

// Error implements error.
func (e *VanishedError) Error() string {
	held := position(e.Held)
	if e.Current == nil {
		return fmt.Sprintf("leases: row %q was deleted more than %d times within %s and is not made again: "+
			"find out what deletes it (a person, a time to live, a worker of another library that does not know the stream), "+
			"then go on with `kclctl leases restore -at %s %s`", e.Held.Key, maxRecreated, recreatedTime, held, e.Held.Key)
	}
	return fmt.Sprintf("leases: row %q was deleted, and another writer made it again: this worker stood at %s, "+
		"and the new row starts later, at %s (owner %q): records in between may be skipped; "+
		"to read them move the row back with `kclctl leases set-checkpoint %s %s`, otherwise start this worker again",
		e.Held.Key, held, position(*e.Current), e.Current.ActualOwner(), e.Held.Key, held)
}

// position returns the position of a row for a message.
func position(l leases.Lease) string {
	if l.Checkpoint.IsSentinel() && !l.PinnedAt.IsZero() {
		return leases.Origin{Kind: l.Checkpoint.String(), At: l.PinnedAt}.String() // LATEST@2026-...
	}
	return l.Checkpoint.String()
}

// VanishedRows keeps what the holders of one worker know of rows that vanished. The zero value
// knows of none. It is safe for concurrent use.
type VanishedRows struct {
	mu          sync.Mutex                 // guards the fields below
	recreatedAt map[string][]time.Duration // when rows were made again, monotonic
	lost        map[string]*lostRow        // rows that could not be made again
}

// lostRow is a row that could not be made again.
type lostRow struct {
	err *VanishedError
	// inOrderSince is the monotonic time since which the listings show the row in order; zero when
	// they do not. One listing proves nothing, because it may be older than the deletion.
	inOrderSince time.Duration
}

// inOrderTime is how long a row must be in order before its loss is forgotten.
const inOrderTime = time.Minute

// mayRecreate tells whether a row may be made again at the time now.
func (v *VanishedRows) mayRecreate(key string, now time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	recent := slices.DeleteFunc(v.recreatedAt[key], func(at time.Duration) bool { return now-at >= recreatedTime })
	if len(recent) == 0 {
		delete(v.recreatedAt, key)
		return true
	}
	v.recreatedAt[key] = recent
	return len(recent) < maxRecreated
}

// recordRecreation records that a row was made again at the monotonic time at.
func (v *VanishedRows) recordRecreation(key string, at time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.recreatedAt == nil {
		v.recreatedAt = map[string][]time.Duration{}
	}
	v.recreatedAt[key] = append(v.recreatedAt[key], at)
}

// recordLoss records a row that could not be made again.
func (v *VanishedRows) recordLoss(e *VanishedError) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lost == nil {
		v.lost = map[string]*lostRow{}
	}
	v.lost[e.Held.Key] = &lostRow{err: e}
}

// CheckListing looks for the lost rows among rows, which were listed at the monotonic time now. A
// lost row is in order when it exists again and does not start behind its earlier position.
func (v *VanishedRows) CheckListing(now time.Duration, rows map[string]leases.Lease) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, l := range v.lost {
		row, there := rows[key]
		switch {
		case !there || (l.err.Current != nil && startsBehind(row, l.err.Held)):
			l.inOrderSince = 0
		case l.inOrderSince == 0:
			l.inOrderSince = now
		case now-l.inOrderSince >= inOrderTime:
			delete(v.lost, key)
		}
	}
}

// All returns the errors of the rows that are still lost, sorted by key.
func (v *VanishedRows) All() []*VanishedError {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []*VanishedError
	for _, key := range slices.Sorted(maps.Keys(v.lost)) {
		if l := v.lost[key]; l.inOrderSince == 0 {
			all = append(all, l.err)
		}
	}
	return all
}

// startsBehind tells whether a reader that begins at current may leave out records which a reader
// of held would get.
func startsBehind(current, held leases.Lease) bool {
	switch {
	case current.Started():
		return current.Checkpoint.Compare(held.Checkpoint) > 0
	case current.Checkpoint.SequenceNumber == kcl.SentinelTrimHorizon:
		return false
	case current.Checkpoint == held.Checkpoint:
		return current.PinnedAt.IsZero() != held.PinnedAt.IsZero() || current.PinnedAt.After(held.PinnedAt)
	}
	// The new row starts at a time. The shard was first read from the origin of the held row.
	return current.PinnedAt.IsZero() || held.Origin.IsZero() || held.Origin.At.IsZero() ||
		current.PinnedAt.After(held.Origin.At)
}
