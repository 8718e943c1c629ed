package scheduler_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
)

// audit compares what was produced with what was processed: nothing lost,
// nothing out of order per key, and how often something came twice.
type audit struct {
	t *testing.T

	mu         sync.Mutex // guards the fields below
	want       map[string]bool
	got        map[string]int
	nextOfKey  map[string]int
	duplicates []string
	violations []string
	lifecycles []string
	lastOf     map[string]kcl.ExtendedSequenceNumber // by worker and shard
	shardOf    map[string]string                     // where each record was processed
}

func newAudit(t *testing.T) *audit {
	return &audit{
		t: t, want: map[string]bool{}, got: map[string]int{}, nextOfKey: map[string]int{},
		lastOf: map[string]kcl.ExtendedSequenceNumber{}, shardOf: map[string]string{},
	}
}

func (a *audit) produced(data string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.want[data] = true
}

// processed notes records; data is key/number, numbers of a key count from 0.
func (a *audit) processed(worker, shard string, records []kcl.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range records {
		data := string(r.Data())
		key, num, _ := strings.Cut(data, "/")
		n, err := strconv.Atoi(num)
		if err != nil {
			a.violations = append(a.violations, "not ours: "+data)
			continue
		}
		if a.got[data]++; a.got[data] > 1 {
			a.duplicates = append(a.duplicates, fmt.Sprintf("%s by %s from %s", data, worker, shard))
			continue
		}
		a.shardOf[data] = shard
		// The first time that a record is processed follows the order of writing.
		if n != a.nextOfKey[key] {
			a.violations = append(a.violations, fmt.Sprintf("%s came when %s/%d was due (%s, %s)", data, key, a.nextOfKey[key],
				worker, shard))
		}
		a.nextOfKey[key] = max(a.nextOfKey[key], n+1)
	}
}

func (a *audit) violation(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.violations = append(a.violations, fmt.Sprintf(format, args...))
}

func (a *audit) lifecycle(calls string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lifecycles = append(a.lifecycles, calls)
}

func (a *audit) complete() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for data := range a.want {
		if a.got[data] == 0 {
			return false
		}
	}
	return true
}

func (a *audit) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.got)
}

func (a *audit) shard(data string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shardOf[data]
}

func (a *audit) missing() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var missing []string
	for data := range a.want {
		if a.got[data] == 0 {
			missing = append(missing, data)
		}
	}
	slices.Sort(missing)
	return fmt.Sprintf("produced %d, missing %d: %v\n", len(a.want), len(missing), missing[:min(len(missing), 20)])
}

// check fails the test if anything was lost or out of order, or came twice more
// often than allowed.
func (a *audit) check(duplicates int) {
	a.t.Helper()
	require.True(a.t, a.complete(), a.missing())
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Empty(a.t, a.violations)
	require.LessOrEqual(a.t, len(a.duplicates), duplicates, "duplicates: %v", a.duplicates)
}
