package kinesistest

import (
	"errors"
	"fmt"
	"time"
)

// The methods of this file act on the account directly, without a request, limits, faults or
// delays. They are for parts of a test that are not under test: producers, resharding and results.
// Their errors are those of the API.

// Put writes a record and returns its shard and sequence number. data is kept: do not change it
// afterwards. A stream with AUTO distribution drops the partition key.
func (s *Server) Put(stream, partitionKey string, data []byte) (shardID, sequenceNumber string, err error) {
	return s.put(stream, putEntry{PartitionKey: &partitionKey, Data: data})
}

// PutWithHashKey is Put with an explicit hash key, a decimal number below 2^128, that decides the
// shard.
func (s *Server) PutWithHashKey(
	stream, partitionKey, explicitHashKey string,
	data []byte,
) (shardID, sequenceNumber string, err error) {
	return s.put(stream, putEntry{PartitionKey: &partitionKey, ExplicitHashKey: &explicitHashKey, Data: data})
}

func (s *Server) put(stream string, e putEntry) (string, string, error) {
	b := s.backend
	b.mu.Lock()
	defer b.mu.Unlock()
	st, err := b.findUsableLocked(streamRef{StreamName: stream})
	if err != nil {
		return "", "", err
	}
	if e.Data == nil {
		e.Data = []byte{}
	}
	if _, err := e.check(st, ""); err != nil {
		return "", "", err
	}
	sh := st.placeLocked(e)
	return sh.id, sh.appendLocked(time.Now(), e.PartitionKey, e.Data).SequenceNumber, nil
}

// PutToShard writes a record to a shard, with any partition key, and returns its sequence number.
// data is kept.
func (s *Server) PutToShard(streamName, shardID, partitionKey string, data []byte) (sequenceNumber string, err error) {
	err = s.withShard(streamName, shardID, func(st *stream, sh *shard, now time.Time) error {
		if !sh.open() {
			return fmt.Errorf("kinesistest: shard %s of stream %s is closed", shardID, streamName)
		}
		sequenceNumber = sh.appendLocked(now, &partitionKey, data).SequenceNumber
		return nil
	})
	return sequenceNumber, err
}

// withShard runs f with the mutex held.
func (s *Server) withShard(streamName, shardID string, f func(st *stream, sh *shard, now time.Time) error) error {
	b := s.backend
	b.mu.Lock()
	defer b.mu.Unlock()
	st, err := b.findUsableLocked(streamRef{StreamName: streamName})
	if err != nil {
		return err
	}
	sh, err := b.findShardLocked(st, shardID)
	if err != nil {
		return err
	}
	return f(st, sh, time.Now())
}

// SplitShard splits an open shard in the middle of its hash range and returns its children.
func (s *Server) SplitShard(streamName, shardID string) (low, high string, err error) {
	err = s.withShard(streamName, shardID, func(st *stream, sh *shard, now time.Time) error {
		if !sh.open() {
			return fmt.Errorf("kinesistest: shard %s of stream %s is closed", shardID, streamName)
		}
		l, h := st.splitLocked(now, sh, sh.hash.middle())
		low, high = l.id, h.id
		return nil
	})
	return low, high, err
}

// MergeShards merges two open shards that are neighbours and returns their child.
func (s *Server) MergeShards(streamName, shardID, adjacentShardID string) (child string, err error) {
	err = s.withShard(streamName, shardID, func(st *stream, sh *shard, now time.Time) error {
		other, ok := st.shardLocked(adjacentShardID)
		if !ok || !sh.open() || !other.open() || !adjacent(sh, other) {
			return fmt.Errorf("kinesistest: shards %s and %s of stream %s are not two open neighbours", shardID, adjacentShardID,
				streamName)
		}
		child = st.mergeLocked(now, sh, other).id
		return nil
	})
	return child, err
}

// TrimShard forgets the records of a shard before a sequence number, or all of them if it is empty.
// The retention period does the same in time. A closed shard that loses all its records stays
// listed.
func (s *Server) TrimShard(streamName, shardID, sequenceNumber string) error {
	return s.withShard(streamName, shardID, func(_ *stream, sh *shard, now time.Time) error {
		upTo := sh.next()
		if sequenceNumber != "" {
			var err error
			if upTo, err = s.backend.resolveLocked(
				now,
				sh,
				startingPosition{Type: "AT_SEQUENCE_NUMBER", SequenceNumber: sequenceNumber},
				"TrimShard",
			); err != nil {
				return err
			}
		}
		sh.trimLocked(upTo)
		return nil
	})
}

// ExpireShard removes a closed shard and its records, as the end of its retention period does. Then
// the shard is neither listed nor found.
func (s *Server) ExpireShard(streamName, shardID string) error {
	return s.withShard(streamName, shardID, func(st *stream, sh *shard, _ time.Time) error {
		if sh.open() {
			return fmt.Errorf("kinesistest: shard %s of stream %s is open, and only a closed one expires", shardID, streamName)
		}
		kept := make([]*shard, 0, len(st.shards)-1)
		for _, o := range st.shards {
			if o != sh {
				kept = append(kept, o)
			}
		}
		st.shards = kept
		return nil
	})
}

// CreateStream adds a stream that is ACTIVE.
func (s *Server) CreateStream(cfg StreamConfig) error {
	b := s.backend
	if err := cfg.validate(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.streams[cfg.Name]; ok {
		return fmt.Errorf("kinesistest: stream %s exists already", cfg.Name)
	}
	b.addStreamLocked(time.Now(), cfg)
	return nil
}

// DeleteStream deletes a stream and its consumers; its subscriptions end.
func (s *Server) DeleteStream(stream string) error {
	b := s.backend
	b.mu.Lock()
	defer b.mu.Unlock()
	st, ok := b.streams[stream]
	if !ok {
		return b.noStream(stream)
	}
	st.status = statusDeleting
	b.dropLocked(st)
	return nil
}

// RegisterConsumer adds a consumer that is ACTIVE and returns its ARN.
func (s *Server) RegisterConsumer(stream, consumer string) (arn string, err error) {
	b := s.backend
	b.mu.Lock()
	defer b.mu.Unlock()
	st, err := b.findUsableLocked(streamRef{StreamName: stream})
	if err != nil {
		return "", err
	}
	if _, ok := st.consumers[consumer]; ok || !validName.MatchString(consumer) {
		return "", fmt.Errorf("kinesistest: consumer %q of stream %s exists already or has an invalid name", consumer, stream)
	}
	c := b.addConsumerLocked(time.Now(), st, consumer)
	c.status = statusActive
	return c.arn, nil
}

// DeleteConsumer deregisters a consumer; its subscriptions end.
func (s *Server) DeleteConsumer(stream, consumer string) error {
	b := s.backend
	b.mu.Lock()
	defer b.mu.Unlock()
	st, err := b.findLocked(streamRef{StreamName: stream})
	if err != nil {
		return err
	}
	c, ok := st.consumers[consumer]
	if !ok {
		return errors.New("kinesistest: stream " + stream + " has no consumer " + consumer)
	}
	c.status = statusDeleting
	delete(st.consumers, consumer)
	close(c.gone)
	return nil
}

// ShardInfo is a shard as [Server.Shards] shows it.
type ShardInfo struct {
	ID               string // such as shardId-000000000000
	ParentID         string // empty for a shard without a parent
	AdjacentParentID string // the second parent of a merge, else empty
	StartingHashKey  string // the lowest that the shard takes, decimal
	EndingHashKey    string // the highest
	Open             bool   // it takes records; false after a split or merge
	Records          int    // that are kept
}

// Shards returns the shards of a stream in order of id, also closed ones. It returns nil if there
// is no such stream.
func (s *Server) Shards(stream string) []ShardInfo {
	b := s.backend
	b.mu.Lock()
	defer b.mu.Unlock()
	st, err := b.findLocked(streamRef{StreamName: stream})
	if err != nil {
		return nil
	}
	infos := make([]ShardInfo, 0, len(st.shards))
	for _, sh := range st.shards {
		infos = append(infos, ShardInfo{
			ID:               sh.id,
			ParentID:         sh.parent,
			AdjacentParentID: sh.adjacent,
			StartingHashKey:  sh.hash.start.String(),
			EndingHashKey:    sh.hash.end.String(),
			Open:             sh.open(),
			Records:          len(sh.records),
		})
	}
	return infos
}

// Record is a record as [Server.Records] shows it.
type Record struct {
	SequenceNumber string    // decimal
	PartitionKey   string    // empty with AUTO distribution
	Data           []byte    // shared: do not change it
	Arrival        time.Time // by the server's clock
}

// Records returns the records that a shard keeps, oldest first. It returns nil if there is no such
// shard.
func (s *Server) Records(streamName, shardID string) []Record {
	var records []Record
	err := s.withShard(streamName, shardID, func(_ *stream, sh *shard, _ time.Time) error {
		records = make([]Record, 0, len(sh.records))
		for _, r := range sh.records {
			rec := Record{SequenceNumber: r.SequenceNumber, Data: r.Data, Arrival: r.ApproximateArrivalTimestamp.Time}
			if r.PartitionKey != nil {
				rec.PartitionKey = *r.PartitionKey
			}
			records = append(records, rec)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return records
}

// StreamARN returns the ARN of a stream with that name in this account.
func (s *Server) StreamARN(stream string) string {
	cfg := s.backend.cfg
	return fmt.Sprintf("arn:aws:kinesis:%s:%s:stream/%s", cfg.Region, cfg.AccountID, stream)
}

// Subscriptions returns how many subscriptions are open.
func (s *Server) Subscriptions() int {
	b := s.backend
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.subs
}

// Calls returns how many requests for an operation, such as GetRecords, have come in, also those
// that failed.
func (s *Server) Calls(operation string) int {
	b := s.backend
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[operation]
}
