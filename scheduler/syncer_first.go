package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

const (
	completeTries = 3           // consecutive incomplete lists of shards that make an error
	completeWait  = time.Second // the wait between two lists, plus or minus a half
)

// errIncomplete says that the service's list lacks shards of a stream. It is transient: the stream
// is listed again until the list is complete.
var errIncomplete = errors.New("the list of shards is incomplete")

// firstShards returns the shards from which the first rows of a stream are planned. The shards in
// which reading begins must cover every hash key, as in the KCL. A later synchronisation finds most
// missing shards. But it takes a missing ancestor of a shard with a row for finished, and the
// ancestor's unread records would be lost. The shards may overlap: a child that is listed while its
// parent is open waits for the parent.
func (st *stream) firstShards(ctx context.Context, list *shardList, initial kcl.InitialPosition) ([]kcl.Shard, error) {
	switch initial.Kind {
	case kcl.Latest:
		open := slices.DeleteFunc(slices.Clone(list.shards), kcl.Shard.Closed)
		return list.shards, st.checkHashKeys(open)
	case kcl.AtTimestamp:
		// Reading starts with the shards that were open at that time or later. (The KCL lists the shards
		// that were open at that time. For a time before the oldest shard, that list is empty.)
		filter := &types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: &initial.Timestamp}
		from, err := st.lineage.list(ctx, filter)
		if err != nil {
			return nil, err
		}
		return from.shards, st.checkHashKeys(from.shards)
	}
	shards, oldest := list.shards, slices.DeleteFunc(slices.Clone(list.shards),
		func(s kcl.Shard) bool { return len(s.Parents()) > 0 })
	if slices.ContainsFunc(shards, list.lacksParent) {
		// The service has trimmed an unlisted parent, or the list lacks it.
		horizon, err := st.lineage.list(ctx, &types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon})
		if err != nil {
			return nil, err
		}
		oldest = horizon.shards
		known := func(s kcl.Shard) bool { _, ok := list.byID[s.ID]; return ok }
		shards = append(slices.Clone(shards), slices.DeleteFunc(slices.Clone(oldest), known)...)
	}
	return shards, st.checkHashKeys(oldest)
}

// planFirst plans all rows of a stream that has no row, or only its anchor. The anchor is the first
// row of this plan, which one worker makes before all others, see claim. With an anchor, its origin
// says where reading begins, and the plan omits the anchor. The plan is nil for a stream with other
// rows.
func (st *stream) planFirst(
	ctx context.Context, list *shardList, rows []leases.Lease,
) ([]leases.Lease, []kcl.Shard, error) {
	initial, opt, made := st.cfg.InitialPosition, st.syncOptions(list), st.rowsOf(rows)
	switch {
	case len(made) > 1 || len(made) == 1 && (made[0].Started() || made[0].ActualOwner() != "" || made[0].Origin.IsZero()):
		return nil, nil, nil
	case len(made) == 1:
		switch origin := made[0].Origin; origin.Kind {
		case kcl.SentinelLatest:
			initial, opt.PinnedAt = kcl.InitialPosition{Kind: kcl.Latest}, origin.At
		case kcl.SentinelAtTimestamp:
			initial = kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: origin.At}
		default:
			initial = kcl.InitialPosition{Kind: kcl.TrimHorizon}
		}
	case initial.Kind != kcl.TrimHorizon && st.replacesStream(rows):
		// The stream was created again under its name, while the application read the earlier stream. All
		// its records are newer than the application's begin, so read them all, whatever is configured.
		initial = kcl.InitialPosition{Kind: kcl.TrimHorizon}
	}
	shards, err := st.firstShards(ctx, list, initial)
	if err != nil {
		return nil, nil, err
	}
	plan := shardsync.Plan(shards, nil, initial, opt)
	if len(made) == 1 {
		if len(plan) == 0 || plan[0].Key != made[0].Key || plan[0].Checkpoint != made[0].Checkpoint {
			return nil, nil, nil // the row is no anchor, and other rows may have been deleted
		}
		plan = plan[1:]
	}
	if plan == nil {
		plan = []leases.Lease{}
	}
	return plan, shards, nil
}

// lacksParent tells whether the list lacks a parent of a shard.
func (s *shardList) lacksParent(shard kcl.Shard) bool {
	return slices.ContainsFunc(shard.Parents(), func(p string) bool { _, ok := s.byID[p]; return !ok })
}

// checkHashKeys returns an error if the shards in which reading begins do not cover all hash keys.
// It returns nil if the hash keys of a shard are not known.
func (st *streamIdentity) checkHashKeys(shards []kcl.Shard) error {
	coverage := coverageOf(shards)
	if len(coverage.Holes) == 0 || len(coverage.Unknown) > 0 {
		return nil
	}
	h := coverage.Holes[0]
	what := fmt.Sprintf("none of the %d shards where reading begins has the hash keys from %s to %s",
		len(shards), h.Start, h.End)
	if h.After != "" {
		what += ", after " + h.After
	}
	if h.Before != "" {
		what += ", before " + h.Before
	}
	if more := len(coverage.Holes) - 1; more > 0 {
		what += fmt.Sprintf(", and %d other range(s)", more)
	}
	return fmt.Errorf("%w: stream %s: %s: no lease is made before the list is complete; a reshard ends by itself; if it "+
		"lasts, compare with `aws kinesis list-shards --stream-name %s`, and tell the operator of the service",
		errIncomplete, st.label, what, st.id.Name)
}

// coverageOf returns the ranges of hash keys that shards do not cover.
func coverageOf(shards []kcl.Shard) shardsync.Coverage {
	rows := make([]leases.Lease, len(shards))
	for i, s := range shards {
		rows[i] = leases.Lease{Key: s.ID, ShardID: s.ID, HashKeyRange: s.HashKeyRange}
	}
	return shardsync.Audit(rows, nil)
}

// syncFirst makes the rows of all streams before reading begins. A stream with an incomplete list
// does not delay the others. The syncer's loop makes its rows later.
func (s *Scheduler) syncFirst(ctx context.Context, streams []*stream) error {
	todo := streams
	err := s.retryStart(ctx, "synchronise shards", func(ctx context.Context) error {
		results := s.syncer.syncAll(ctx, todo)
		todo = slices.DeleteFunc(slices.Clone(todo), func(st *stream) bool { return results[st] == nil })
		for _, st := range todo {
			if retryable(results[st]) != tryAgain {
				return results[st]
			}
		}
		if len(todo) > 0 && len(todo) == len(streams) {
			return results[todo[0]]
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, st := range todo {
		s.syncer.request(st)
	}
	return nil
}
