package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

const (
	// arrivalSlack is how much later than the target a record must have arrived to
	// prove that all from before it were met: arrival times do not quite ascend.
	arrivalSlack = 10 * time.Second
	stopPoll     = 2 * time.Second // how often it is asked whether all has been read
	stopTell     = time.Minute     // how often it is told what is missing
)

// errReadToTip ends Run, which returns nil then.
var errReadToTip = errors.New("all that Config.StopAtTip asks for has been read")

// aim sets the target of Config.StopAtTip: the service's time, when Run listed the
// streams first. It stays, so a stream that is written all the time ends Run too.
//
//	row:  read from -- target reached, goReached = target, released -- not taken again
//	                |                                                  by who aims no further
//	                +- finished
//	                +- waits for a parent that has reached it: so has the child
func (s *Scheduler) aim(streams []*stream) error {
	if !s.cfg.StopAtTip {
		return nil
	}
	var target time.Time
	for _, st := range streams {
		pin := st.lineage.pin()
		if pin.IsZero() {
			continue // it is listed later, and all its answers are later still
		}
		if at := pin.Add(clockBackdate); at.After(target) {
			target = at
		}
	}
	if target.IsZero() {
		return errors.New("scheduler: Config.StopAtTip is set, but the service does not say its time (no Date header in the answers of ListShards), so it is not known where to stop")
	}
	s.target = target.UTC().Truncate(time.Millisecond)
	return nil
}

// passedTarget tells whether a row says that its shard has been read up to the target.
func (s *Scheduler) passedTarget(row leases.Lease) bool {
	return !s.target.IsZero() && !row.Reached.IsZero() && !row.Reached.Before(s.target)
}

// atTarget tells whether the shard has been read up to the target with this batch,
// which has been processed.
func (c *consumer) atTarget(batch kcl.Batch) bool {
	if c.s.target.IsZero() || batch.End != nil {
		return false
	}
	for _, r := range batch.Records {
		if r.ApproximateArrival().After(c.s.target.Add(arrivalSlack)) {
			return true
		}
	}
	return c.progress.caughtUp(time.Now())
}

// behindTarget tells whether a shard that waits for its parents has nothing to read:
// a parent was read up to the target and has not ended, so this one began later.
func (c *consumer) behindTarget() bool {
	for _, parent := range c.start.Parents {
		row, ok := c.s.coord.Lookup(shardsync.Key(c.stream.id, parent, c.stream.multi))
		if ok && !row.Finished() && c.s.passedTarget(row) {
			return true
		}
	}
	return false
}

// recordTarget writes that the shard has been read up to the target. Unless that
// succeeds, somebody reads on from the checkpoint, and finds out anew.
func (c *consumer) recordTarget(ctx context.Context) {
	if !c.arrived || ctx.Err() != nil {
		return
	}
	at := c.holder.Lease().Checkpoint
	if err := c.holder.SetReached(ctx, c.s.target); err != nil {
		c.log.WarnContext(ctx, "it cannot be recorded that the shard has been read to where StopAtTip stops, it is read on", "err", err)
		return
	}
	c.log.InfoContext(ctx, "shard has been read to where StopAtTip stops", "target", c.s.target, "checkpoint", at, "position", c.processed)
}

// stopLoop ends Run when the fleet has read up to the target. It ends with ctx.
func (s *Scheduler) stopLoop(ctx context.Context) {
	if s.target.IsZero() {
		return
	}
	s.log.InfoContext(ctx, "worker stops once all that has arrived before is read", "target", s.target)
	told := time.Now()
	for retry.Sleep(ctx, stopPoll) == nil {
		missing, err := s.beforeTarget(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && missing == "":
			s.end()
			return
		case time.Since(told) >= stopTell:
			told = time.Now()
			s.log.InfoContext(ctx, "worker does not stop yet", "missing", missing, "err", err)
		}
	}
}

// beforeTarget says what of the fleet's work is not done; nothing when all is. It asks
// the service and the table only when this worker itself knows of nothing.
func (s *Scheduler) beforeTarget(ctx context.Context) (missing string, err error) {
	streams := s.streams.all()
	if mode := s.coord.Assignment().Mode; mode != "native" {
		return fmt.Sprintf("leases are assigned as %s: StopAtTip works natively only", mode), nil
	}
	for key := range s.consumers.all() {
		return "this worker reads " + key, nil
	}
	if missing := s.unreached(s.coord.Leases()); missing != "" {
		return missing, nil
	}
	lists := make([]*shardList, len(streams))
	for i, st := range streams {
		if synced, err := st.syncState(); err != nil || synced.IsZero() {
			return "stream " + st.label + " is not synchronised", err
		}
		if lists[i], err = st.lineage.get(ctx, 0); err != nil {
			return "stream " + st.label + " cannot be listed", err
		}
	}
	listing, err := s.cfg.Leases.ListNow(ctx)
	if err != nil {
		return "the lease table cannot be listed", err
	}
	if len(listing.Bad) > 0 {
		return "a row cannot be read", listing.Bad[0]
	}
	for i, st := range streams {
		var rows []leases.Lease
		for _, row := range listing.Leases {
			if st.owns(row) {
				rows = append(rows, row)
			}
		}
		if plan := shardsync.Plan(lists[i].shards, rows, st.cfg.InitialPosition, st.syncOptions(lists[i])); len(plan) > 0 {
			return "no row for shard " + plan[0].ShardID, nil
		}
	}
	return s.unreached(listing.Leases), nil
}

// unreached names a row of this worker's streams that has not been read up to the
// target, by whomever.
func (s *Scheduler) unreached(rows []leases.Lease) string {
	for _, row := range rows {
		switch {
		case s.streams.of(row) == nil || row.Finished():
		case row.Paused != "":
			return "lease " + row.Key + " is paused"
		case !s.passedTarget(row):
			if owner := row.ActualOwner(); owner != "" {
				return "worker " + owner + " reads " + row.Key
			}
			return "nobody reads " + row.Key
		}
	}
	return ""
}
