package kinesistest

import (
	"regexp"
	"time"
)

// States of a stream and of a consumer, and the other words of the wire.
const (
	statusCreating = "CREATING"
	statusActive   = "ACTIVE"
	statusUpdating = "UPDATING"
	statusDeleting = "DELETING"

	modeProvisioned = "PROVISIONED"
	modeOnDemand    = "ON_DEMAND"

	distributionUser = "USER_PARTITION_KEY"
	distributionAuto = "AUTO"

	encryptionNone = "NONE"
	encryptionKMS  = "KMS"
)

var validName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

// stream is one stream. The backend's mutex guards all fields except name, arn and created, which
// do not change.
type stream struct {
	name         string
	arn          string
	created      time.Time // whole seconds, as the service has it
	status       string
	mode         string
	distribution string
	retention    time.Duration
	maxRecordKiB int
	encryption   string
	keyID        string
	tags         map[string]string
	policy       string
	metrics      []string // of shards, that are monitored
	warm         warmThroughput
	shards       []*shard // by number, without the expired ones
	shardCount   int      // of all shards that ever were
	consumers    map[string]*consumer
	scalings     []time.Time   // of UpdateShardCount
	gone         chan struct{} // closed when the stream has been deleted
	turn         int           // of AUTO distribution
}

func (st *stream) usable() bool { return st.status == statusActive || st.status == statusUpdating }

func (st *stream) recordEncryption() string {
	if st.encryption == encryptionKMS {
		return encryptionKMS
	}
	return ""
}

// horizon is the oldest arrival that is still kept.
func (st *stream) horizon(now time.Time) time.Time { return now.Add(-st.retention) }

// expireLocked forgets old records, and closed shards that ended before the horizon.
func (st *stream) expireLocked(now time.Time) {
	horizon := st.horizon(now)
	expired := 0
	for _, sh := range st.shards {
		sh.expireLocked(horizon)
		if sh.expiredAt(horizon) {
			expired++
		}
	}
	if expired == 0 {
		return
	}
	kept := make([]*shard, 0, len(st.shards)-expired)
	for _, sh := range st.shards {
		if !sh.expiredAt(horizon) {
			kept = append(kept, sh)
		}
	}
	st.shards = kept
}

func (sh *shard) expiredAt(horizon time.Time) bool {
	return !sh.open() && sh.closed.Before(horizon) && len(sh.records) == 0
}

// addShardLocked makes a shard that is younger than its parents.
func (st *stream) addShardLocked(now time.Time, hash hashRange, parents ...*shard) *shard {
	sh := &shard{
		stream: st, number: st.shardCount, id: shardID(st.shardCount), hash: hash,
		created: now, epoch: seconds(now), base: 1,
	}
	for i, p := range parents {
		sh.epoch = max(sh.epoch, p.epoch+1, seconds(now))
		if i == 0 {
			sh.parent = p.id
		} else {
			sh.adjacent = p.id
		}
	}
	st.shardCount++
	st.shards = append(st.shards, sh)
	return sh
}

func (st *stream) openShardsLocked() []*shard {
	var open []*shard
	for _, sh := range st.shards {
		if sh.open() {
			open = append(open, sh)
		}
	}
	return open
}

// shardLocked finds a shard by id.
func (st *stream) shardLocked(id string) (*shard, bool) {
	for _, sh := range st.shards {
		if sh.id == id {
			return sh, true
		}
	}
	return nil, false
}

// routeLocked finds the open shard whose range has a hash key.
func (st *stream) routeLocked(k hashKey) *shard {
	for _, sh := range st.shards {
		if sh.open() && sh.hash.contains(k) {
			return sh
		}
	}
	return nil // cannot be: open shards cover the space
}

// closedInfo is the sequence number range of a shard.
type sequenceNumberRange struct {
	StartingSequenceNumber string `json:"StartingSequenceNumber"`
	EndingSequenceNumber   string `json:"EndingSequenceNumber,omitempty"`
}

// shardDescription is a shard in ListShards and DescribeStream.
type shardDescription struct {
	ShardID               string              `json:"ShardId"`
	ParentShardID         string              `json:"ParentShardId,omitempty"`
	AdjacentParentShardID string              `json:"AdjacentParentShardId,omitempty"`
	HashKeyRange          hashKeyRange        `json:"HashKeyRange"`
	SequenceNumberRange   sequenceNumberRange `json:"SequenceNumberRange"`
}

func (sh *shard) describeLocked() shardDescription {
	return shardDescription{
		ShardID: sh.id, ParentShardID: sh.parent, AdjacentParentShardID: sh.adjacent, HashKeyRange: sh.hash.wire(),
		SequenceNumberRange: sequenceNumberRange{StartingSequenceNumber: sh.starting(), EndingSequenceNumber: sh.ending},
	}
}
