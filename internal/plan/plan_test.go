package plan

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// heldLease is a lease that a worker of this library holds; without an owner it is free.
func heldLease(key, owner string) leases.Lease {
	return leases.Lease{Key: key, Owner: owner, Extension: leases.Extension{NativeOwner: owner}}
}

// drawRows makes a table as some worker may see it.
func drawRows(t *rapid.T) []Row {
	workers := []string{"", "a", "b", "c", "d", "e"}[:rapid.IntRange(1, 6).Draw(t, "workers")]
	n := rapid.IntRange(0, 40).Draw(t, "leases")
	rows := make([]Row, n)
	for i := range rows {
		l := leases.Lease{
			Key: fmt.Sprintf("shard-%03d", i), Counter: int64(i),
			Owner: rapid.SampledFrom(workers).Draw(t, "owner"),
		}
		checkpoints := rapid.SampledFrom([]string{"TRIM_HORIZON", "17", "17", "17", "SHARD_END"})
		l.Checkpoint.SequenceNumber = checkpoints.Draw(t, "checkpoint")
		l.NativeOwner = rapid.SampledFrom([]string{l.Owner, l.Owner, l.Owner, "java"}).Draw(t, "native")
		if l.Owner != "" && rapid.IntRange(0, 9).Draw(t, "asked") == 0 {
			l.CheckpointOwner = rapid.SampledFrom(workers).Draw(t, "from")
			if l.CheckpointOwner == l.Owner {
				l.CheckpointOwner = ""
			}
		}
		rows[i] = Row{
			Lease:       l,
			Expired:     l.Owner != "" && rapid.IntRange(0, 4).Draw(t, "expired") == 0,
			Quiet:       rapid.IntRange(0, 9).Draw(t, "quiet") == 0,
			Busy:        rapid.IntRange(0, 9).Draw(t, "busy") == 0,
			ScansWaited: rapid.IntRange(0, 4).Draw(t, "waited"),
		}
	}
	return rows
}

func TestPlanProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := View{
			Me: "a", Rows: drawRows(t), Max: rapid.IntRange(0, 10).Draw(t, "max"),
			Asks: rapid.IntRange(-1, 1).Draw(t, "asks"),
		}
		byKey := map[string]Row{}
		total := 0
		for _, r := range v.Rows {
			byKey[r.Key] = r
			if !r.Finished() {
				total++
			}
		}
		before := fmt.Sprintf("%+v", v)
		actions := Native(v)
		require.Equal(t, before, fmt.Sprintf("%+v", v), "pure")
		require.Equal(t, actions, Native(v), "the same again")

		seen := map[string]bool{}
		asked, forced := 0, 0
		for _, a := range actions {
			r := byKey[a.Row.Key]
			require.False(t, seen[a.Row.Key], "one action for each lease")
			seen[a.Row.Key] = true
			require.False(t, r.Finished(), "%v", a)
			require.False(t, r.Busy, "%v", a)
			require.Equal(t, r.Lease, a.Row, "as it was read")
			switch {
			case a.Verb == Ask:
				asked++
				require.False(t, r.Expired)
				require.Equal(t, r.Owner, r.NativeOwner)
				require.Empty(t, r.CheckpointOwner)
				require.NotContains(t, []string{"", "a"}, r.Owner)
			case a.Verb == Complete:
				require.Equal(t, "a", r.CheckpointOwner)
			case a.Reason == "balance":
				forced++
				require.NotEqual(t, r.Owner, r.NativeOwner)
				require.Empty(t, r.CheckpointOwner)
			case a.Reason == "free":
				require.Empty(t, r.Owner)
			case a.Reason == "expired":
				require.True(t, r.Expired)
				require.NotEqual(t, "a", r.ActualOwner())
			case a.Reason == "handover":
				require.Equal(t, "a", r.ActualOwner())
			default:
				require.Fail(t, "unknown action", "%v", a)
			}
		}
		if v.Asks >= 0 {
			require.LessOrEqual(t, asked+forced, v.Asks)
		}
		if v.Max > 0 {
			mine := 0
			for _, r := range v.Rows {
				if r.Owner == "a" && !r.Finished() {
					mine++
				}
			}
			taken := 0
			for _, a := range actions {
				if a.Reason != "handover" && a.Verb != Complete && a.Row.Owner != "a" {
					taken++
				}
			}
			require.LessOrEqual(t, taken, max(0, v.Max-mine), "the cap is kept")
		}
	})
}

// simulate lets workers that list a healthy table at the same moment carry out
// their plans, and hands over at once what was asked for.
func simulate(truth []Row, workers []string) (moves int) {
	listed := slices.Clone(truth)
	for _, w := range workers {
		v := View{Me: w, Rows: slices.Clone(listed), Asks: 1}
		for i := range v.Rows {
			v.Rows[i].Busy = v.Rows[i].Owner == w
			if v.Rows[i].Busy {
				v.Asks = -1
			}
		}
		for actions := Native(v); len(actions) > 0; actions = Native(v) {
			for _, a := range actions {
				i := slices.IndexFunc(truth, func(r Row) bool { return r.Key == a.Row.Key })
				if truth[i].Owner == a.Row.Owner { // no conflict
					if a.Row.Owner != "" && !truth[i].Expired {
						moves++
					}
					truth[i] = Row{Lease: a.Row}
					truth[i].Owner, truth[i].NativeOwner = w, w
					if a.Reason == "balance" && v.Asks > 0 {
						v.Asks--
					}
				}
				v.Rows[i] = truth[i]
				v.Rows[i].Busy = true
			}
		}
	}
	return moves
}

func TestPlanBalances(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d", "e", "f"}
		workers := names[:rapid.IntRange(1, 6).Draw(t, "workers")]
		n := rapid.IntRange(0, 60).Draw(t, "leases")
		// Some of the workers have been there before, others join; owners that
		// are no longer among them have let their leases expire.
		old := rapid.SampledFrom([][]string{{""}, {"a"}, {"a", "b"}, {"a", "z"}, {"z"}, names}).Draw(t, "old")
		rows := make([]Row, n)
		load := map[string]int{}
		for i := range rows {
			o := rapid.SampledFrom(old).Draw(t, "owner")
			rows[i] = Row{Lease: heldLease(fmt.Sprintf("shard-%03d", i), o)}
			rows[i].Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: "17"}
			rows[i].Expired = o != "" && !slices.Contains(workers, o)
			if o != "" && !rows[i].Expired {
				load[o]++
			}
		}
		// As few moves as balance needs: what is above the ceiling, or missing
		// below the floor, of what each worker should have.
		surplus, deficit := 0, 0
		for _, w := range workers {
			surplus += max(0, load[w]-(n+len(workers)-1)/len(workers))
			deficit += max(0, n/len(workers)-load[w])
		}
		moves := 0
		for range 3 {
			moves += simulate(rows, workers)
		}
		got := map[string]int{}
		for _, w := range workers {
			got[w] = 0
		}
		for _, r := range rows {
			got[r.Owner]++
		}
		counts := slices.Sorted(maps.Values(got))
		require.Len(t, got, len(workers), "every lease has a living owner: %v", got)
		require.LessOrEqual(t, counts[len(counts)-1]-counts[0], 1, "%v to %v", load, got)
		knownBefore := slices.Sorted(maps.Values(load))
		even := len(load) == 0 || knownBefore[len(load)-1]-knownBefore[0] <= 1
		if even || len(load) == len(workers) {
			// Nobody evened out what was uneven before a newcomer was seen.
			require.LessOrEqual(t, moves, max(surplus, deficit)+2*len(workers), "%v", load)
		}
		require.Zero(t, simulate(rows, workers), "and then there is quiet")
	})
}

func TestPlanOfEmptyTable(t *testing.T) {
	t.Parallel()
	require.Empty(t, Native(View{Me: "a", Asks: 1}))
}
