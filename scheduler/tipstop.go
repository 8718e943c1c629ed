package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

const (
	// arrivalSlack is the least time between the target and the arrival of a record that proves that
	// all records before the target were read. Arrival times do not ascend strictly.
	arrivalSlack = 10 * time.Second
	stopPoll     = 2 * time.Second // the wait between two checks whether all records were read
	stopLogEvery = time.Minute     // the time between two logs of missing work
)

// errReadToTip ends Run, which returns nil then.
var errReadToTip = errors.New("all records up to the target of Config.StopAtTip have been read")

// tipStop ends Run after the fleet has read up to the target of Config.StopAtTip. The target is the
// service's time of the first listing of the streams by Run. The target never moves, so Run also
// ends on a stream that is written all the time.
//
//	row:  read from -- target reached, goReached = target, released -- taken again only
//	                |                                                  for a later target
//	                +- finished
//	                +- waits for a parent that has reached the target: so has the child
type tipStop struct {
	streams   *streamSet
	table     *rowTable
	coord     *coordinator.Coordinator
	consumers *registry
	log       *slog.Logger
	end       func() // ends Run without an error; set when Run begins

	target time.Time // zero without StopAtTip; set before the first lease is taken
}

// setTarget sets the target to the latest time of the listings of streams.
func (t *tipStop) setTarget(streams []*stream) error {
	var target time.Time
	for _, st := range streams {
		pin := st.lineage.pin()
		if pin.IsZero() {
			continue // the stream is listed later, after the target
		}
		if at := pin.Add(clockBackdate); at.After(target) {
			target = at
		}
	}
	if target.IsZero() {
		return errors.New("scheduler: Config.StopAtTip needs the service's time: answers of ListShards have no Date header")
	}
	t.target = target.UTC().Truncate(time.Millisecond)
	return nil
}

// reached tells whether a row says that its shard has been read up to the target.
func (t *tipStop) reached(row leases.Lease) bool {
	return !t.target.IsZero() && !row.Reached.IsZero() && !row.Reached.Before(t.target)
}

// loop ends Run after the fleet has read up to the target. It ends with ctx.
func (t *tipStop) loop(ctx context.Context) {
	if t.target.IsZero() {
		return
	}
	t.log.InfoContext(ctx, "worker stops after it has read all records up to the target", "target", t.target)
	logged := time.Now()
	for retry.Sleep(ctx, stopPoll) == nil {
		missing, err := t.missing(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && missing == "":
			t.end()
			return
		case time.Since(logged) >= stopLogEvery:
			logged = time.Now()
			t.log.InfoContext(ctx, "worker does not stop yet", "missing", missing, "err", err)
		}
	}
}

// missing names a part of the fleet's work that is not done, or returns an empty string. It calls
// the service and the table only if this worker knows of no such part.
func (t *tipStop) missing(ctx context.Context) (missing string, err error) {
	streams := t.streams.all()
	if mode := t.coord.Assignment().Mode; mode != "native" {
		return fmt.Sprintf("leases are assigned as %s: StopAtTip works natively only", mode), nil
	}
	for key := range t.consumers.all() {
		return "this worker reads " + key, nil
	}
	if missing := t.unreached(t.coord.Leases()); missing != "" {
		return missing, nil
	}
	lists := make([]*shardList, len(streams))
	for i, st := range streams {
		if synced, err := st.status(); err != nil || synced.IsZero() {
			return "stream " + st.label + " is not synchronised", err
		}
		if lists[i], err = st.lineage.get(ctx, 0); err != nil {
			return "stream " + st.label + " cannot be listed", err
		}
	}
	listing, err := t.table.listNow(ctx)
	if err != nil {
		return "the lease table cannot be listed", err
	}
	if len(listing.Bad) > 0 {
		return "a row cannot be read", listing.Bad[0]
	}
	for i, st := range streams {
		if plan := shardsync.Plan(lists[i].shards, st.rowsOf(listing.Leases), st.cfg.InitialPosition,
			st.syncOptions(lists[i])); len(plan) > 0 {
			return "no row for shard " + plan[0].ShardID, nil
		}
	}
	return t.unreached(listing.Leases), nil
}

// unreached names a row of this worker's streams whose shard no worker has read up to the target.
func (t *tipStop) unreached(rows []leases.Lease) string {
	for _, row := range rows {
		switch {
		case t.streams.ofRow(row) == nil || row.Finished():
		case row.Paused != "":
			return "lease " + row.Key + " is paused"
		case !t.reached(row):
			if owner := row.ActualOwner(); owner != "" {
				return "worker " + owner + " reads " + row.Key
			}
			return "no worker reads " + row.Key
		}
	}
	return ""
}

// atTarget tells whether this processed batch completes the shard up to the target.
func (c *consumer) atTarget(batch kcl.Batch) bool {
	if c.cfg.tip.target.IsZero() || batch.End != nil {
		return false
	}
	for _, r := range batch.Records {
		if r.ApproximateArrival().After(c.cfg.tip.target.Add(arrivalSlack)) {
			return true
		}
	}
	return c.progress.caughtUp(time.Now())
}

// recordTarget writes that the shard has been read up to the target. If the write fails, the next
// owner reads on from the checkpoint until it reaches the target again.
func (c *consumer) recordTarget(ctx context.Context) {
	if !c.arrived || ctx.Err() != nil {
		return
	}
	at := c.holder.Lease().Checkpoint
	if err := c.holder.SetReached(ctx, c.cfg.tip.target); err != nil {
		c.log.WarnContext(ctx, "record target of StopAtTip failed, the shard is read on", "err", err)
		return
	}
	c.log.InfoContext(ctx, "shard is read up to the target of StopAtTip", "target", c.cfg.tip.target, "checkpoint", at,
		"position", c.delivery.processed)
}
