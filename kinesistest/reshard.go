package kinesistest

import (
	"slices"
	"time"
)

// SplitShard, MergeShards, UpdateShardCount.
//
// The stream must be ACTIVE (ResourceInUseException). It is UPDATING for Config.StateDelay. After
// that the parents close and the children open at once, so that every hash key always has exactly
// one open shard. A child of a merge names both parents, and readers of both see it. Splitting and
// merging need a provisioned stream (ValidationException). A closed shard is
// ResourceInUseException. UpdateShardCount works as in the service, by many splits and merges. Some
// of the closed shards that it leaves lived for no time at all. Its target is between half and
// twice the present count, ten times a day at most.

var reshardOperations = []operation{
	define("SplitShard", splitShard),
	define("MergeShards", mergeShards),
	define("UpdateShardCount", updateShardCount),
}

type splitShardInput struct {
	streamRef
	ShardToSplit       string `json:"ShardToSplit"`
	NewStartingHashKey string `json:"NewStartingHashKey"`
}

func (in *splitShardInput) resource() resource {
	r := in.streamRef.resource()
	r.shard = in.ShardToSplit
	return r
}

func splitShard(b *backend, now time.Time, in *splitShardInput) (any, error) {
	st, err := b.findActiveLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	if err := st.provisionedLocked(); err != nil {
		return nil, err
	}
	sh, err := b.findOpenShardLocked(st, in.ShardToSplit)
	if err != nil {
		return nil, err
	}
	if in.NewStartingHashKey == "" {
		return nil, missing("newStartingHashKey")
	}
	at, ok := parseHashKey(in.NewStartingHashKey)
	if !ok {
		return nil, constraint(
			in.NewStartingHashKey,
			"newStartingHashKey",
			`Member must satisfy regular expression pattern: 0|([1-9]\d{0,38})`,
		)
	}
	if at.compare(sh.hash.start.next()) <= 0 || at.compare(sh.hash.end) >= 0 {
		return nil, invalid("NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is not "+
			"both greater than one plus the shard's StartingHashKey %s and less than the shard's EndingHashKey %s.",
			at, sh.id, st.name, b.cfg.AccountID, sh.hash.start, sh.hash.end)
	}
	if err := b.roomForShardsLocked(1); err != nil {
		return nil, err
	}
	b.updateLocked(st, func(now time.Time) {
		if sh.open() { // it is closed if a test has resharded without the API
			st.splitLocked(now, sh, at)
		}
	})
	return nil, nil
}

type mergeShardsInput struct {
	streamRef
	ShardToMerge         string `json:"ShardToMerge"`
	AdjacentShardToMerge string `json:"AdjacentShardToMerge"`
}

func (in *mergeShardsInput) resource() resource {
	r := in.streamRef.resource()
	r.shard = in.ShardToMerge
	return r
}

func mergeShards(b *backend, now time.Time, in *mergeShardsInput) (any, error) {
	st, err := b.findActiveLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	if err := st.provisionedLocked(); err != nil {
		return nil, err
	}
	first, err := b.findOpenShardLocked(st, in.ShardToMerge)
	if err != nil {
		return nil, err
	}
	second, err := b.findOpenShardLocked(st, in.AdjacentShardToMerge)
	if err != nil {
		return nil, err
	}
	if !adjacent(first, second) {
		return nil, invalid("Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible "+
			"for merging",
			first.id, second.id, st.name, b.cfg.AccountID)
	}
	b.updateLocked(st, func(now time.Time) {
		if first.open() && second.open() { // one is closed if a test has resharded without the API
			st.mergeLocked(now, first, second)
		}
	})
	return nil, nil
}

func adjacent(a, b *shard) bool {
	if a == b {
		return false
	}
	return (a.hash.end != maxHashKey && a.hash.end.next() == b.hash.start) ||
		(b.hash.end != maxHashKey && b.hash.end.next() == a.hash.start)
}

// provisionedLocked refuses on-demand streams.
func (st *stream) provisionedLocked() error {
	if st.mode == modeProvisioned {
		return nil
	}
	return errf(codeValidation,
		"Request is invalid. Stream %s is in %s mode, and this operation is for streams in %s mode.", st.name, modeOnDemand,
		modeProvisioned)
}

func (a *account) findOpenShardLocked(st *stream, id string) (*shard, error) {
	sh, err := a.findShardLocked(st, id)
	if err != nil {
		return nil, err
	}
	if !sh.open() {
		return nil, invalid("Shard %s in stream %s under account %s has already been merged or split, and thus is not "+
			"eligible for merging or splitting.",
			sh.id, st.name, a.cfg.AccountID)
	}
	return sh, nil
}

// splitLocked closes a shard and opens its children. at is the first hash key of the second child.
func (st *stream) splitLocked(now time.Time, sh *shard, at hashKey) (low, high *shard) {
	low = st.addShardLocked(now, hashRange{sh.hash.start, at.prev()}, sh)
	high = st.addShardLocked(now, hashRange{at, sh.hash.end}, sh)
	sh.closeLocked(now, low, high)
	return low, high
}

// mergeLocked closes two neighbours and opens their child.
func (st *stream) mergeLocked(now time.Time, first, second *shard) *shard {
	hash := hashRange{first.hash.start, second.hash.end}
	if second.hash.start.compare(first.hash.start) < 0 {
		hash = hashRange{second.hash.start, first.hash.end}
	}
	child := st.addShardLocked(now, hash, first, second)
	first.closeLocked(now, child)
	second.closeLocked(now, child)
	return child
}

type updateShardCountInput struct {
	streamRef
	TargetShardCount *int32 `json:"TargetShardCount"`
	ScalingType      string `json:"ScalingType"`
}

type updateShardCountOutput struct {
	StreamName        string `json:"StreamName"`
	StreamARN         string `json:"StreamARN"`
	CurrentShardCount int    `json:"CurrentShardCount"`
	TargetShardCount  int    `json:"TargetShardCount"`
}

func updateShardCount(b *backend, now time.Time, in *updateShardCountInput) (any, error) {
	switch {
	case in.TargetShardCount == nil:
		return nil, missing("targetShardCount")
	case *in.TargetShardCount < 1:
		return nil, constraint(*in.TargetShardCount, "targetShardCount", "Member must have value greater than or equal to 1")
	case in.ScalingType != "UNIFORM_SCALING":
		return nil, constraint(in.ScalingType, "scalingType", "Member must satisfy enum value set: [UNIFORM_SCALING]")
	}
	target := int(*in.TargetShardCount)
	st, err := b.findActiveLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	if err := st.provisionedLocked(); err != nil {
		return nil, err
	}
	open := len(st.openShardsLocked())
	switch {
	case target > 2*open:
		return nil, invalid("UpdateShardCount cannot scale up over double your current open shard count. Current open "+
			"shard count: %d Target shard count: %d", open, target)
	case 2*target < open:
		return nil, invalid("UpdateShardCount cannot scale down below half your current open shard count. Current open "+
			"shard count: %d Target shard count: %d", open, target)
	case target > maxShardsOfStream:
		return nil, errf(codeLimitExceeded, "UpdateShardCount cannot scale above %d shards.", maxShardsOfStream)
	}
	if err := b.roomForShardsLocked(target - open); err != nil {
		return nil, err
	}
	if err := b.countScalingLocked(now, st); err != nil {
		return nil, err
	}
	b.updateLocked(st, func(now time.Time) { st.scaleLocked(now, target) })
	return updateShardCountOutput{
		StreamName:        st.name,
		StreamARN:         st.arn,
		CurrentShardCount: open,
		TargetShardCount:  target,
	}, nil
}

// countScalingLocked allows ten scalings in any 24 hours.
func (a *account) countScalingLocked(now time.Time, st *stream) error {
	if a.cfg.DisableLimits {
		return nil
	}
	st.scalings = slices.DeleteFunc(st.scalings, func(t time.Time) bool { return now.Sub(t) >= 24*time.Hour })
	if len(st.scalings) >= maxScalingsPerDay {
		return errf(codeLimitExceeded, "UpdateShardCount can be called %d times per rolling 24-hour period for stream %s "+
			"under account %s.", maxScalingsPerDay, st.name, a.cfg.AccountID)
	}
	st.scalings = append(st.scalings, now)
	return nil
}

// scaleLocked splits every shard at the borders of the new shards, and then merges the pieces
// between two borders.
func (st *stream) scaleLocked(now time.Time, target int) {
	for _, r := range evenRanges(target) {
		if r.start == (hashKey{}) {
			continue
		}
		if sh := st.routeLocked(r.start); sh.hash.start != r.start {
			st.splitLocked(now, sh, r.start)
		}
	}
	for _, r := range evenRanges(target) {
		for {
			sh := st.routeLocked(r.start)
			if sh.hash.end == r.end {
				break
			}
			st.mergeLocked(now, sh, st.routeLocked(sh.hash.end.next()))
		}
	}
}
