package transfer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/streaminfo"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/internal/gokcl"
	"github.com/kinesis-go/kcl/leases"
)

// Export gives the checkpoints of a lease table back to go-kcl.
type Export struct {
	From, To string // the names of the tables in messages
	Leases   leases.Listing
	Have     []gokcl.Row // the rows that are there already
	HaveBad  []*leases.RowError
	Known    streaminfo.Stream // the zero value if Kinesis was not asked

	// Stream selects the leases of a table with several streams, by Lease.Stream.
	Stream string

	Force, Lossy, SkipBad bool
}

// Plan decides about every lease. The plan reads the store and writes the old table.
func (e Export) Plan(store leases.Store, old Table) *Plan {
	p := e.plan()
	for n := range p.Rows {
		p.Rows[n].writeOld(old)
	}
	p.prepare = old.Init
	p.changes = func(ctx context.Context) ([]string, error) {
		listing, err := store.List(ctx)
		return changedLeases(e.Leases.Leases, listing.Leases), err
	}
	return p
}

func (e Export) plan() *Plan {
	p := newPlan(e.From, e.To, e.Leases.Bad, e.SkipBad,
		"the other library then reads their shards from its initial position")
	p.refuseUnreadable(e.HaveBad)
	there := map[string]gokcl.Row{}
	for _, r := range e.Have {
		there[r.ShardID] = r
	}
	add := func(r gokcl.Row, note string) {
		current, ok := there[r.ShardID]
		p.add(Row{Key: r.ShardID, Checkpoint: r.Checkpoint, Note: note, row: r},
			ok, current.Checkpoint != r.Checkpoint, current.Checkpoint)
	}
	has, parents := map[string]bool{}, map[string][]string{}
	for _, b := range p.Bad {
		has[strings.TrimPrefix(b.Key, e.Stream+":")] = true
	}
	var owned, lossy []string
	streams := map[string]bool{}
	for _, l := range e.Leases.Leases {
		streams[l.Stream] = true
		if l.Stream != e.Stream {
			continue
		}
		r, losses := gokcl.FromLease(l)
		if l.ActualOwner() != "" && !l.Finished() {
			owned = append(owned, l.Key+" by "+l.ActualOwner())
		}
		if len(losses) > 0 {
			lossy = append(lossy, l.Key)
		}
		has[l.ShardID], parents[l.ShardID] = true, l.Parents
		add(r, strings.Join(losses, "; "))
	}
	e.addFinished(p, add, has, parents)
	if len(p.Rows) == 0 && len(e.Leases.Leases) > 0 {
		p.refuse("no lease is of -stream %q; the table has %s", e.Stream, view.Join(slices.Collect(maps.Keys(streams))))
	}
	if len(owned) > 0 {
		p.refuseRunning(e.Force, "workers own leases of "+p.From+" ("+view.Join(owned)+"): "+
			"their later checkpoints are lost on the other library")
	}
	if len(lossy) > 0 && !e.Lossy {
		p.refuse("the other layout cannot hold everything (%s): read the notes of these rows, "+
			"and accept the losses with -lossy", view.Join(lossy))
	}
	return p
}

// addFinished adds rows for the ancestors of shards in has that have no lease: they were finished,
// and their leases deleted.
func (e Export) addFinished(p *Plan, add func(gokcl.Row, string), has map[string]bool, parents map[string][]string) {
	finished := e.Known.MissingAncestors(has, parents)
	for _, id := range finished {
		add(gokcl.Row{ShardID: id, Checkpoint: kcl.SentinelShardEnd}, "was finished, and its lease deleted")
	}
	if e.Known.Shards == nil {
		if len(finished) > 0 {
			p.note("without -kinesis-stream only parents that leases name are written as finished: " +
				"the other library reads the parents of these again, as long as Kinesis has them")
		}
		return
	}
	for id := range has {
		if _, listed := e.Known.Shards[id]; listed {
			return
		}
	}
	if len(has) > 0 {
		p.refuse("Kinesis lists none of the shards of %s: -kinesis-stream is another stream", p.From)
	}
}

// writeOld sets how the row is created and read back.
func (r *Row) writeOld(old Table) {
	row := r.row
	r.create = func(ctx context.Context) error {
		_, err := old.Create(ctx, row)
		return err // verify compares a row that was there
	}
	r.verify = func(ctx context.Context) error {
		current, err := old.Get(ctx, row.ShardID)
		switch {
		case err != nil:
			return fmt.Errorf("read back: %w", err)
		case current.Checkpoint != row.Checkpoint:
			return fmt.Errorf("read back: the checkpoint is %q, not %q: is a worker running already?",
				current.Checkpoint, row.Checkpoint)
		}
		return nil
	}
}

// changedLeases says which leases have changed.
func changedLeases(before, after []leases.Lease) []string {
	const written = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter | leases.AttrCheckpoint
	return listChanges(before, after, func(l leases.Lease) string { return l.Key }, func(was, now leases.Lease) string {
		if now.Same(written, was) {
			return ""
		}
		return fmt.Sprintf("was written by worker %s: stop the workers, and export again into an empty table",
			view.Owner(now))
	})
}
