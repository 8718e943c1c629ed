package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/streaminfo"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/internal/gokcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// Import takes over the checkpoints of a table of go-kcl.
type Import struct {
	From, To string // the names of the tables in messages
	Rows     []gokcl.Row
	Bad      []*leases.RowError
	Have     leases.Listing    // the leases that are there already
	Stream   streaminfo.Stream // the zero value if Kinesis was not asked

	Application string
	Multi       bool // the leases get the keys of an application with several streams
	// Position is where shards without a checkpoint start, and At the time that belongs to it.
	Position kcl.ExtendedSequenceNumber
	At       time.Time

	Now            time.Time
	Force, SkipBad bool
}

// Plan decides about every row. The plan reads the old table and writes the store.
func (i Import) Plan(old Table, store leases.Store) *Plan {
	p := i.plan()
	for n := range p.Rows {
		p.Rows[n].writeLease(store)
	}
	p.prepare = store.Init
	p.changes = func(ctx context.Context) ([]string, error) {
		rows, _, err := old.List(ctx)
		return changedRows(i.Rows, rows), err
	}
	return p
}

func (i Import) plan() *Plan {
	p := newPlan(i.From, i.To, i.Bad, i.SkipBad,
		"their shards are then read from TRIM_HORIZON, or not at all if their children have leases")
	there := map[string]leases.Lease{}
	for _, l := range i.Have.Leases {
		there[l.Key] = l
	}
	i.checkTarget(p)
	add := func(r gokcl.Row, note string) {
		l := i.lease(r)
		current, ok := there[l.Key]
		p.add(Row{Key: l.Key, Checkpoint: l.Checkpoint.String(), Note: note, lease: l},
			ok, !samePosition(current, l), current.Checkpoint.String())
	}
	var live, unlisted []string
	for _, r := range i.Rows {
		if r.Live(i.Now) {
			live = append(live, fmt.Sprintf("%s by %s until %s", r.ShardID, r.Owner, r.Until.Format(time.RFC3339)))
		}
		_, listed := i.Stream.Shards[r.ShardID]
		switch {
		case i.Stream.Shards != nil && !listed:
			unlisted = append(unlisted, r.ShardID)
			p.Rows = append(p.Rows, Row{
				Key: r.ShardID, Checkpoint: r.Checkpoint, Action: actionLeave, Note: "Kinesis does not list the shard any more",
			})
		case r.Checkpoint == "":
			add(r, "had no checkpoint")
		default:
			add(r, "")
		}
	}
	unread := i.unreadAncestors()
	for _, id := range unread {
		add(gokcl.Row{ShardID: id}, "had no row, although a descendant has one")
	}
	if len(live) > 0 {
		p.refuseRunning(i.Force, "old workers hold leases of "+p.From+" ("+view.Join(live)+"): while old and new "+
			"workers run, every record is processed twice, and later checkpoints of the old workers are lost")
	}
	if len(unlisted) > 0 && len(unlisted) == len(i.Rows) {
		p.refuse("Kinesis lists none of the shards of %s: it is a table of another stream", p.From)
	}
	if i.Application == "" {
		p.note("without -application the leases name no application: " +
			"the first application that starts on the table takes them for its own")
	}
	if i.Stream.Shards == nil {
		p.note("without -stream the leases have neither hash keys nor the creation time of the stream")
		if len(unread) > 0 {
			p.note("without -stream leases are made for all parents without a row (%s), "+
				"also for those that Kinesis does not list any more", view.Join(unread))
		}
	}
	return p
}

// checkTarget refuses a lease table of another application, or with keys of the other form.
func (i Import) checkTarget(p *Plan) {
	var foreign error
	otherForm := false
	for _, l := range i.Have.Leases {
		if foreign == nil {
			foreign = i.marks().Check(l)
		}
		otherForm = otherForm || (l.Stream != "") != i.Multi
	}
	if foreign != nil {
		p.refuse("%v", foreign)
	}
	p.refuseUnreadable(i.Have.Bad)
	if otherForm {
		p.refuse("%s has the other form of keys (for one stream, or for several): use another -table, or change -multi", p.To)
	}
}

// lease is the lease that a row of the old table becomes.
func (i Import) lease(r gokcl.Row) leases.Lease {
	l := r.Lease(i.Position)
	l, _ = l.Moved(l.Checkpoint, i.At)
	if !i.At.IsZero() { // TRIM_HORIZON is the default: it does not say where the old application began
		l.Origin = leases.Origin{Kind: i.Position.SequenceNumber, At: i.At}
	}
	if i.Stream.Shards != nil {
		s := i.Stream.Shards[r.ShardID]
		l.Parents, l.HashKeyRange, l.StreamCreated = s.Parents(), s.HashKeyRange, i.Stream.Created.UTC()
		if l.Finished() {
			for _, child := range i.Stream.Shards {
				if child.ParentID == s.ID || child.AdjacentParentID == s.ID {
					l.Children = append(l.Children, child.ID)
				}
			}
		}
		if i.Multi {
			l.Stream, l.Key = i.Stream.ID.String(), shardsync.LeaseKey(i.Stream.ID, s.ID, true)
		}
	}
	l, _ = i.marks().Complete(l)
	return l
}

// marks are the application and the stream of the new leases, as far as they are known.
func (i Import) marks() shardsync.Marks {
	return shardsync.MarksOf(i.Application, i.Stream.ID, i.Multi)
}

// unreadAncestors returns the ancestors of rows that have no row themselves. The old libraries take
// shards in any order: they read a child whose parent has no row yet. They keep the rows of
// finished shards. So such an ancestor is still to be read. A worker of this library would take an
// ancestor without a row for finished.
func (i Import) unreadAncestors() []string {
	has, parents := map[string]bool{}, map[string][]string{}
	for _, r := range i.Rows {
		has[r.ShardID] = true
		if r.Parent != "" {
			parents[r.ShardID] = []string{r.Parent}
		}
	}
	for _, b := range i.Bad {
		has[b.Key] = true
	}
	return i.Stream.MissingAncestors(has, parents)
}

// samePosition tells whether a worker would go on at the same record with either lease.
func samePosition(current, l leases.Lease) bool {
	return current.Same(leases.AttrCheckpoint|leases.AttrPending, l)
}

// writeLease sets how the row is created and read back.
func (r *Row) writeLease(store leases.Store) {
	l := r.lease
	r.create = func(ctx context.Context) error { return store.Create(ctx, l) }
	created := r.Action == actionCreate
	r.verify = func(ctx context.Context) error {
		const facts = leases.AttrParents | leases.AttrHashKeyRange | leases.AttrStreamCreated |
			leases.AttrApplication | leases.AttrStreamARN
		current, err := store.Get(ctx, l.Key)
		switch {
		case err != nil:
			return fmt.Errorf("read back: %w", err)
		case !samePosition(current, l):
			return fmt.Errorf("read back: the checkpoint is %s, not %s: is a worker running already?",
				current.Checkpoint, l.Checkpoint)
		case created && !current.Same(facts, l):
			return errors.New("read back: parents, hash keys, creation time or marks are not as written")
		}
		return nil
	}
}

// changedRows says which rows of the old table have changed.
func changedRows(before, after []gokcl.Row) []string {
	return listChanges(before, after, func(r gokcl.Row) string { return r.ShardID }, func(was, now gokcl.Row) string {
		switch {
		case was.Checkpoint != now.Checkpoint:
			return fmt.Sprintf("was checkpointed at %s by an old worker: "+
				"stop the old workers, delete the imported leases and import again", now.Checkpoint)
		case was.Owner != now.Owner || !was.Until.Equal(now.Until):
			return fmt.Sprintf("was taken or renewed by the old worker %s: stop the old workers", now.Owner)
		}
		return ""
	})
}
