package plan

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl/leases"
)

// drawFamily makes the rows of a stream that was split and merged, without owners, and says which
// shards are closed.
func drawFamily(t *rapid.T) (rows []Row, closed map[string]bool) {
	closed = map[string]bool{}
	open := []string{}
	shard := func(parents ...string) {
		id := fmt.Sprintf("shard-%03d", len(rows))
		l := leases.Lease{Key: id, ShardID: id, Parents: parents}
		l.Checkpoint.SequenceNumber = "TRIM_HORIZON"
		rows, open = append(rows, Row{Lease: l}), append(open, id)
	}
	take := func() string {
		i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
		id := open[i]
		open, closed[id] = slices.Delete(open, i, i+1), true
		return id
	}
	for range rapid.IntRange(1, 6).Draw(t, "roots") {
		shard()
	}
	for range rapid.IntRange(0, 12).Draw(t, "reshards") {
		if len(open) > 1 && rapid.Bool().Draw(t, "merge") {
			shard(take(), take())
		} else {
			parent := take()
			shard(parent)
			shard(parent)
		}
	}
	return rows, closed
}

// TestPlanParentsFirst lets workers hold only as many leases as there are open shards. No worker
// takes a lease that waits for its parents, so all shards are read. That holds when workers die, as
// long as the others have room for the open shards.
func TestPlanParentsFirst(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows, closed := drawFamily(t)
		workers := []string{"a", "b", "c", "d"}[:rapid.IntRange(1, 4).Draw(t, "workers")]
		open := len(rows) - len(closed)
		limit := rapid.IntRange((open+len(workers)-1)/len(workers), open).Draw(t, "limit")
		finished := func(key string) bool {
			return slices.ContainsFunc(rows, func(r Row) bool { return r.Key == key && r.Finished() })
		}
		for range 2*len(rows) + 10 {
			for _, w := range workers {
				v := View{Me: w, Max: limit, Asks: -1, Rows: slices.Clone(rows)}
				for i := range v.Rows {
					v.Rows[i].Busy = v.Rows[i].Owner == w
					v.Rows[i].ScansWaited = Patience
				}
				for _, a := range Native(v) {
					if a.Verb != Take || a.Reason == "balance" {
						continue
					}
					for _, p := range a.Row.Parents {
						require.True(t, finished(p), "%s takes %s before %s is finished", w, a.Row.Key, p)
					}
					i := slices.IndexFunc(rows, func(r Row) bool { return r.Key == a.Row.Key })
					rows[i].Owner, rows[i].NativeOwner = w, w
				}
			}
			if (len(workers)-1)*limit >= open && rapid.Bool().Draw(t, "death") {
				for i := range rows {
					if rows[i].Owner == workers[0] && !rows[i].Finished() {
						rows[i].Owner, rows[i].NativeOwner = "", ""
					}
				}
				workers = workers[1:]
				continue
			}
			for i := range rows {
				if r := rows[i]; r.Owner != "" && closed[r.Key] &&
					!slices.ContainsFunc(r.Parents, func(p string) bool { return !finished(p) }) {
					rows[i].Checkpoint.SequenceNumber = "SHARD_END"
				}
			}
		}
		for _, r := range rows {
			require.True(t, r.Finished() == closed[r.Key] && r.Owner != "", "%s is read: %s of %s", r.Key, r.Checkpoint, r.Owner)
		}
	})
}
