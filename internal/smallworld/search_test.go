package smallworld

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// TestNoHistoryBreaksAPromise tries every history of the three families, within bounds. make long
// has 12 steps with a lost answer.
func TestNoHistoryBreaksAPromise(t *testing.T) {
	t.Parallel()
	for _, b := range []struct {
		depth   int
		maxLost uint8
	}{
		{testsize.Pick(8, 12, 12), 0},
		{testsize.Pick(4, 6, 7), 1},
		{testsize.Pick(4, 5, 5), 2},
	} {
		all := families()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			r := run(theRules(), all[name], all[name].starts(), b.depth, b.maxLost)
			require.Empty(t, r.broken, r.path)
			t.Logf("%s: %d steps, %d lost answers: %d states, %d transitions", name, b.depth, b.maxLost, r.states, r.transitions)
			require.Greater(t, r.transitions, r.states)
		}
	}
}

// TestSearchFindsPlantedRules: the search finds each wrong rule.
func TestSearchFindsPlantedRules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		family string
		plant  func(*rules)
		want   string // how the broken promise begins
	}{
		"take after 1.0 FailoverTime": {"split", func(r *rules) {
			r.judgeSighting = func(s coordinator.Sighting, l leases.Lease, now, failover time.Duration) (bool, bool) {
				_, quiet := s.Judge(l, now, failover)
				return l.ActualOwner() != "" && now-s.Since >= failover, quiet
			}
		}, "S4"},
		"an owner trusts its lease for 1.5 FailoverTime": {"split", func(r *rules) {
			r.remaining = func(failover time.Duration, sent, now trust.Instant) time.Duration {
				return failover*3/2 - now.Since(sent)
			}
		}, "S4"},
		"a take without an answer counts": {"split", func(r *rules) {
			r.judgeTake = func(leases.Update, *leases.Lease, bool) coordinator.TakeOutcome { return coordinator.TakenNow }
		}, "S4"},
		"a take does not expect the counter": {"chain", func(r *rules) {
			r.takeUpdate = func(l leases.Lease, worker string) leases.Update {
				u := coordinator.TakeUpdate(l, worker)
				u.Expect &^= leases.AttrCounter
				return u
			}
		}, "S2"},
		"a checkpoint has no condition": {"split", func(r *rules) {
			write := r.ownerUpdate
			r.ownerUpdate = func(row, to leases.Lease, set leases.Attr) leases.Update {
				u := write(row, to, set)
				if set.Has(leases.AttrCheckpoint) {
					u.Expect = 0
				}
				return u
			}
		}, "S2"},
		"a checkpoint is written as SHARD_END": {"split", func(r *rules) {
			write := r.checkpoint
			r.checkpoint = func(l leases.Lease, _ kcl.ExtendedSequenceNumber) (leases.Lease, leases.Attr) {
				return write(l, position(atEnd))
			}
		}, "S8"},
		"SHARD_END comes before the rows of the children": {"merge", func(r *rules) { r.endsBefore = true }, "S8"},
		"a child waits for one parent": {"merge", func(r *rules) {
			r.waitedFor = func(passed []bool) bool { return len(passed) == 0 || slices.Contains(passed, true) }
		}, "S6"},
		"a child waits for no parent": {"chain", func(r *rules) {
			r.judgeParent = func(leases.Lease, bool, leases.Lease) (shardsync.ParentState, bool) {
				return shardsync.ParentPassed, true
			}
		}, "S6"},
		"clean-up does not wait for the children": {"chain", func(r *rules) {
			r.cleanup = func(s shardsync.Survey, past shardsync.CleanupHistory) ([]shardsync.Removal, shardsync.CleanupHistory) {
				var all []shardsync.Removal
				for _, l := range s.Rows {
					if l.Finished() {
						all = append(all, shardsync.Removal{Lease: l})
					}
				}
				return all, past
			}
		}, "the row of x is deleted before its child y has been read from"},
		"nobody takes an expired lease": {"chain", func(r *rules) {
			r.judgeSighting = func(coordinator.Sighting, leases.Lease, time.Duration, time.Duration) (bool, bool) {
				return false, false
			}
		}, "a shard can never be finished"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			planted := theRules()
			c.plant(&planted)
			f := families()[c.family]
			r := run(planted, f, f.starts(), 7, 1)
			require.NotEmpty(t, r.broken)
			require.Regexp(t, "^"+c.want, r.broken, r.path)
			require.Contains(t, r.path, "broken: "+r.broken)
			t.Logf("%d states\n%s", r.states, r.path)
		})
	}
}

// TestPathsAreReadable: the text of a broken promise names each step and the rows after it.
func TestPathsAreReadable(t *testing.T) {
	t.Parallel()
	planted := theRules()
	planted.judgeTake = func(leases.Update, *leases.Lease, bool) coordinator.TakeOutcome { return coordinator.TakenNow }
	f := families()["chain"]
	want := `the stream is x with child y, which has child z, and in the beginning:
    x: owner "" counter 0 at TRIM_HORIZON
    y: no row
    z: no row
 1. A takes x (no answer)
    x: owner "" counter 0 at TRIM_HORIZON; A holds counter 1, 0 ticks old
    y: no row
    z: no row
 2. B takes x
    x: owner "B" counter 1 at TRIM_HORIZON; A holds counter 1, 0 ticks old; B holds counter 1, 0 ticks old
    y: no row
    z: no row
broken: S4: two workers trust their lease of x at the same time
`
	require.Equal(t, want, run(planted, f, []state{f.begin(false)}, 4, 1).path)
}
