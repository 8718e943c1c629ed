package scheduler

import (
	"context"
	"errors"
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

var errRowChanged = errors.New("the checkpoint has changed since the lease was taken")

// adopt completes a row that another library made. It adds marks, the stream's creation time, the
// time of the start, hash keys, and the second parent, which vmware-go-kcl does not keep. It
// rejects a row with foreign marks. adopt tries until the row is complete. Suppose a record is
// processed before the row has its start, and the lease is lost before a checkpoint. Then the next
// owner would start later.
func (l *shardLease) adopt(ctx context.Context) outcome {
	backoff := retry.New(firstBackoff, maxBackoff)
	for row, seen := l.start, false; ; {
		err := l.refreshStart(ctx, &row, &seen)
		if errors.Is(err, errRowChanged) {
			l.log.WarnContext(ctx, "lease was changed by hand while it was taken, giving it back", "err", err)
			return stopped
		}
		if err == nil {
			err = l.stream.marks.Check(row)
			if err != nil {
				l.log.ErrorContext(ctx, "lease belongs to another application or stream", "err", err)
				l.cfg.syncer.request(l.stream) // the shard sync stops the stream
				return stopped
			}
			var complete bool
			if complete, err = l.complete(ctx, &row); complete {
				return done
			}
		}
		if err != nil {
			l.log.WarnContext(ctx, "complete lease failed, the shard is not read yet", "err", err)
		}
		if out := l.pause(ctx, backoff.Next()); out != done {
			return out
		}
	}
}

// refreshStart reads a row at LATEST or AT_TIMESTAMP again. The listing from which the lease was
// taken may be older than the last write to the row's start.
func (l *shardLease) refreshStart(ctx context.Context, row *leases.Lease, seen *bool) error {
	if *seen || !l.startsAtATime() {
		return nil
	}
	l.progress.storeAsked()
	now, err := l.cfg.table.Get(ctx, l.key)
	l.progress.storeAnswered(err)
	if err != nil {
		return fmt.Errorf("read lease %s again: %w", l.key, err)
	}
	if now.Checkpoint != l.start.Checkpoint {
		return fmt.Errorf("%w: lease %s was at %s and is at %s", errRowChanged, l.key, l.start.Checkpoint, now.Checkpoint)
	}
	*row, *seen = now, true
	return nil
}

// complete tries once to write the attributes that row lacks. After a conflict it sets row to the
// current row.
func (l *shardLease) complete(ctx context.Context, row *leases.Lease) (bool, error) {
	to, set := l.stream.marks.Complete(*row)
	if to.StreamCreated.IsZero() && !l.stream.created.IsZero() {
		to.StreamCreated, set = l.stream.created, set|leases.AttrStreamCreated
	}
	if to.HashKeyRange.IsZero() && !l.shard.HashKeyRange.IsZero() {
		to.HashKeyRange, set = l.shard.HashKeyRange, set|leases.AttrHashKeyRange
	}
	if parents := l.shard.Parents(); len(to.Parents) < len(parents) {
		to.Parents, set = parents, set|leases.AttrParents
	}
	starts, err := l.starts(ctx, to)
	l.progress.result(&l.progress.listing, err)
	if err != nil {
		return false, err
	}
	to, changed := starts.Settle(to)
	expect := leases.AttrCheckpoint
	if changed != 0 {
		set |= changed
		expect |= leases.AttrPinnedAt | leases.AttrOrigin
	}
	if set != 0 {
		l.progress.storeAsked()
		err = l.cfg.table.Update(ctx, leases.Update{Read: *row, Expect: set | expect, To: to, Set: set})
	}
	l.progress.storeAnswered(err)
	if err == nil {
		l.start = l.start.With(set|leases.AttrStreamCreated|leases.AttrPinnedAt|leases.AttrOrigin|
			leases.AttrHashKeyRange|leases.AttrParents, to)
		l.holder.Amend(to, leases.AttrAll)
		return true, nil
	}
	if conflict, ok := errors.AsType[*leases.ConflictError](err); ok && conflict.Current != nil {
		*row = *conflict.Current // a parent or another worker has changed it, see moveChildStart
		return false, nil
	}
	return false, err
}

// starts returns the values that decide where the shard of a row starts. LATEST without a pin needs
// the service's time, which is known after the stream was listed. The local clock would be wrong,
// and so would the tip when reading begins.
func (l *shardLease) starts(ctx context.Context, row leases.Lease) (shardsync.Starts, error) {
	s := shardsync.Starts{Initial: l.stream.cfg.InitialPosition, Origin: l.stream.sync.origin()}
	if row.Checkpoint.SequenceNumber != kcl.SentinelLatest || !row.PinnedAt.IsZero() {
		return s, nil
	}
	if s.Latest = l.stream.lineage.pin(); s.Latest.IsZero() {
		list, err := l.stream.lineage.get(ctx, absentAge)
		if err != nil {
			return s, fmt.Errorf("the time that LATEST means is unknown: %w", err)
		}
		if s.Latest = list.pin; s.Latest.IsZero() {
			return s, l.stream.errNoPin()
		}
	}
	return s, nil
}
