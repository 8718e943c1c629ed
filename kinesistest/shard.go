package kinesistest

import (
	"fmt"
	"sort"
	"time"
)

// record is a stored record and its wire form. It is never changed, so that readers can share it.
type record struct {
	SequenceNumber              string    `json:"SequenceNumber"`
	ApproximateArrivalTimestamp timestamp `json:"ApproximateArrivalTimestamp"`
	Data                        []byte    `json:"Data"`
	PartitionKey                *string   `json:"PartitionKey,omitempty"`
	EncryptionType              string    `json:"EncryptionType,omitempty"`
}

// size is the size that the limits count.
func (r *record) size() int {
	if r.PartitionKey == nil {
		return len(r.Data)
	}
	return len(r.Data) + len(*r.PartitionKey)
}

// shard is one shard of a stream. Its records have the indexes base, base+1, ... An index is a
// position, and positions below base are trimmed. The backend's mutex guards all fields except id,
// number, hash and epoch, which do not change.
type shard struct {
	stream   *stream
	number   int
	id       string
	hash     hashRange
	epoch    int64 // of its sequence numbers
	created  time.Time
	parent   string // id, or empty
	adjacent string // id of the second parent of a merge, or empty

	base    uint64
	records []record

	closed   time.Time // zero while open
	ending   string    // sequence number, once closed
	children []*shard

	changed chan struct{} // closed at the next change; nil while nobody waits

	writeRecords, writeBytes, readBytes, getRecords, getIterator bucket
}

func shardID(number int) string { return fmt.Sprintf("shardId-%012d", number) }

func (sh *shard) open() bool { return sh.closed.IsZero() }

// next is the index of the next record.
func (sh *shard) next() uint64 { return sh.base + uint64(len(sh.records)) }

// sequence is the number of a position, issued at t: the number of the record with this index, or a
// later one before the next record.
func (sh *shard) sequence(index uint64, t time.Time) string {
	return sequence{epoch: sh.epoch, shard: uint32(sh.number), index: index, time: seconds(t)}.String()
}

// starting is the shard's first sequence number, before any record's.
func (sh *shard) starting() string {
	return sequence{epoch: sh.epoch, shard: uint32(sh.number), time: sh.epoch}.String()
}

// appendLocked stores a record and wakes the readers.
func (sh *shard) appendLocked(now time.Time, partitionKey *string, data []byte) *record {
	sh.records = append(sh.records, record{
		SequenceNumber:              sh.sequence(sh.next(), now),
		ApproximateArrivalTimestamp: newTimestamp(now),
		Data:                        data,
		PartitionKey:                partitionKey,
		EncryptionType:              sh.stream.recordEncryption(),
	})
	sh.notifyLocked()
	return &sh.records[len(sh.records)-1]
}

// closeLocked ends the shard for writing.
func (sh *shard) closeLocked(now time.Time, children ...*shard) {
	sh.closed = now
	sh.ending = sh.sequence(sh.next()-1, now)
	sh.children = children
	sh.notifyLocked()
}

// changedLocked returns a channel that is closed at the next change.
func (sh *shard) changedLocked() <-chan struct{} {
	if sh.changed == nil {
		sh.changed = make(chan struct{})
	}
	return sh.changed
}

func (sh *shard) notifyLocked() {
	if sh.changed != nil {
		close(sh.changed)
		sh.changed = nil
	}
}

// trimLocked forgets all records before index.
func (sh *shard) trimLocked(index uint64) {
	if index <= sh.base {
		return
	}
	n := min(index, sh.next()) - sh.base
	kept := make([]record, len(sh.records)-int(n))
	copy(kept, sh.records[n:])
	sh.records = kept
	sh.base += n
}

// expireLocked forgets records that are older than the retention period.
func (sh *shard) expireLocked(horizon time.Time) {
	if len(sh.records) == 0 || !sh.records[0].ApproximateArrivalTimestamp.Before(horizon) {
		return
	}
	sh.trimLocked(sh.atTimeLocked(horizon))
}

// atTimeLocked is the position of the first record that did not arrive before t.
func (sh *shard) atTimeLocked(t time.Time) uint64 {
	n := sort.Search(len(sh.records), func(i int) bool { return !sh.records[i].ApproximateArrivalTimestamp.Before(t) })
	return sh.base + uint64(n)
}

// readLocked returns the records from a position on, at least one if there is any, and the position
// after them. Readers share the records.
func (sh *shard) readLocked(from uint64, maxRecords, maxBytes int) ([]record, uint64) {
	from = max(from, sh.base)
	if from >= sh.next() {
		return nil, from
	}
	rest := sh.records[from-sh.base:]
	n, size := 0, 0
	for n < len(rest) && n < maxRecords {
		size += rest[n].size()
		if n > 0 && size > maxBytes {
			break
		}
		n++
	}
	return rest[:n:n], from + uint64(n)
}

// behindLocked is the age of the oldest record at or after a position, 0 at the tip. The service
// calls it MillisBehindLatest.
func (sh *shard) behindLocked(position uint64, now time.Time) int64 {
	position = max(position, sh.base)
	if position >= sh.next() {
		return 0
	}
	age := now.Sub(sh.records[position-sh.base].ApproximateArrivalTimestamp.Time).Milliseconds()
	return max(age, 1)
}

// childShard is a child as the end of a shard names it.
type childShard struct {
	ShardID      string       `json:"ShardId"`
	ParentShards []string     `json:"ParentShards"`
	HashKeyRange hashKeyRange `json:"HashKeyRange"`
}

type hashKeyRange struct {
	StartingHashKey string `json:"StartingHashKey"`
	EndingHashKey   string `json:"EndingHashKey"`
}

func (r hashRange) wire() hashKeyRange {
	return hashKeyRange{StartingHashKey: r.start.String(), EndingHashKey: r.end.String()}
}

// childrenLocked lists the children of a closed shard, each with all its parents. A child of a
// merge has two.
func (sh *shard) childrenLocked() []childShard {
	children := make([]childShard, 0, len(sh.children))
	for _, c := range sh.children {
		children = append(children, childShard{ShardID: c.id, ParentShards: c.parents(), HashKeyRange: c.hash.wire()})
	}
	return children
}

func (sh *shard) parents() []string {
	switch {
	case sh.parent == "":
		return []string{}
	case sh.adjacent == "":
		return []string{sh.parent}
	default:
		return []string{sh.parent, sh.adjacent}
	}
}
