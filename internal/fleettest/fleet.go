package fleettest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/leases/memory"
)

// Fleet is several workers on one lease table. Every shard has endless records 1, 2, 3, ... A
// consumer takes one record per Period and checkpoints it. At the end of the test the Fleet stops
// its workers, and fails the test if a worker broke a rule.
type Fleet struct {
	T *testing.T
	// Store is the operator's view of the table.
	Store leases.Store
	// TableFaults are the faults of a table in memory, for all workers; nil for a KCL3Fleet.
	TableFaults *leasefault.Injector
	// Log takes the warnings of workers that are made later. Warned keeps them.
	Log    *slog.Logger
	Warned *Log
	// Period is how often a shard delivers a record.
	Period time.Duration
	// Workers are all workers that were made, by id. Do not read it while another goroutine makes one.
	Workers map[string]*Worker
	// Erased is when Erase deleted a row, by key.
	Erased map[string]time.Time

	open   func(id string) leases.Store // makes a worker's view of the table
	cutOff func(id string)              // ends a worker's connections
	slack  func(high int) int           // by how much loads may differ, by the largest one

	mu       sync.Mutex // guards the fields below
	shards   map[string]*Shard
	problems []string
}

// New returns a Fleet without workers, on a table in memory with a lease for each shard. shards is
// the number of shards.
func New(t *testing.T, shards int) *Fleet {
	table := leasefault.New(memory.New())
	f := newFleet(t)
	f.TableFaults, f.Store = table, table.Store()
	f.open = func(string) leases.Store { return f.Store }
	f.cutOff = func(string) {}
	f.slack = func(int) int { return 1 }
	f.Period = testsize.Pick(500*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond)
	f.createMany(shards)
	return f
}

func newFleet(t *testing.T) *Fleet {
	warned := &Log{}
	handler := slog.NewTextHandler(io.MultiWriter(t.Output(), warned), &slog.HandlerOptions{Level: slog.LevelWarn})
	f := &Fleet{
		T: t, Log: slog.New(handler), Warned: warned,
		Workers: map[string]*Worker{}, Erased: map[string]time.Time{}, shards: map[string]*Shard{},
	}
	t.Cleanup(func() {
		for _, w := range f.Workers {
			w.Stop()
		}
		require.Empty(t, f.problems)
	})
	return f
}

func (f *Fleet) createMany(shards int) {
	for i := range shards {
		f.Create(fmt.Sprintf("shardId-%012d", i))
	}
}

// Create makes a free lease.
func (f *Fleet) Create(key string) { f.CreateFor("", key) }

// CreateFor makes a lease that a worker of this library has.
func (f *Fleet) CreateFor(owner, key string) {
	require.NoError(f.T, f.Store.Create(f.T.Context(), leases.Lease{
		Key: key, ShardID: key, ThroughputKBps: -1, Owner: owner, Extension: leases.Extension{NativeOwner: owner},
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
	}))
}

// Start runs a worker. change may adapt its configuration.
func (f *Fleet) Start(id string, change ...func(*coordinator.Config)) *Worker {
	w := f.Prepare(id, change...)
	w.Run()
	return w
}

// Prepare makes a worker and does not run it.
func (f *Fleet) Prepare(id string, change ...func(*coordinator.Config)) *Worker {
	w := &Worker{f: f, ID: id, Faults: leasefault.New(f.open(id)), Done: make(chan struct{})}
	cfg := coordinator.Config{
		Store: w.Faults.Store(), WorkerID: id, Consume: w.consume, Logger: f.Log.With("worker", id),
	}
	for _, c := range change {
		c(&cfg)
	}
	w.Coordinator = coordinator.New(cfg)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Workers[id] = w
	return w
}

// Row returns a row as it is now.
func (f *Fleet) Row(key string) leases.Lease {
	row, err := f.Store.Get(context.Background(), key)
	require.NoError(f.T, err)
	return row
}

// Edit changes a row without any worker's knowledge.
func (f *Fleet) Edit(key string, change func(*leases.Lease)) {
	row := f.Row(key)
	change(&row)
	require.NoError(f.T, f.Store.Update(f.T.Context(), leases.Update{Read: row, To: row, Set: leases.AttrAll}))
}

// Erase deletes a row without any worker's knowledge.
func (f *Fleet) Erase(key string) {
	f.Erased[key] = time.Now()
	require.NoError(f.T, f.Store.Delete(context.Background(), leases.Lease{Key: key}, 0))
}

// Rows lists the rows, by key.
func (f *Fleet) Rows() map[string]leases.Lease {
	l, err := f.Store.List(f.T.Context())
	require.NoError(f.T, err)
	require.Empty(f.T, l.Bad)
	rows := map[string]leases.Lease{}
	for _, row := range l.Leases {
		rows[row.Key] = row
	}
	return rows
}

// Load returns how many leases each owner has in the table.
func (f *Fleet) Load() map[string]int {
	load := map[string]int{}
	for _, row := range f.Rows() {
		load[row.Owner]++
	}
	return load
}

// RequireBalance demands that the workers hold all leases, evenly.
func (f *Fleet) RequireBalance(workers ...string) {
	f.T.Helper()
	load := f.Load()
	slices.Sort(workers)
	require.Equal(f.T, workers, slices.Sorted(maps.Keys(load)), "%v", load)
	counts := slices.Collect(maps.Values(load))
	high := slices.Max(counts)
	require.LessOrEqual(f.T, high-slices.Min(counts), f.slack(high), "%v", load)
}
