package smallworld

import (
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// The size of the world.
const (
	workers = 3
	shards  = 3
)

// Checkpoints of a shard, which has one record.
const (
	atTrimHorizon uint8 = iota
	atRecord
	atEnd
)

// nobody is the number of no worker. The workers have the numbers 1 to 3.
const nobody uint8 = 0

// row is a row of the lease table, with the attributes that change in this world.
type row struct {
	there                                      bool
	owner, checkpointOwner, handoverTo, native uint8 // workers
	counter, switches                          uint8
	checkpoint                                 uint8
	children                                   bool // the row names its children
}

// pack returns the row as a number without its counters.
func (r row) pack() uint32 {
	return bit(r.there) | bit(r.children)<<1 | uint32(r.owner)<<2 | uint32(r.checkpointOwner)<<4 |
		uint32(r.handoverTo)<<6 | uint32(r.native)<<8 | uint32(r.checkpoint)<<10
}

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// same tells whether two rows that exist have equal values of the attributes in set.
func (r row) same(set leases.Attr, o row) bool {
	return !(set.Has(leases.AttrOwner) && r.owner != o.owner ||
		set.Has(leases.AttrCheckpointOwner) && r.checkpointOwner != o.checkpointOwner ||
		set.Has(leases.AttrHandoverTo) && r.handoverTo != o.handoverTo ||
		set.Has(leases.AttrNativeOwner) && r.native != o.native ||
		set.Has(leases.AttrCounter) && r.counter != o.counter ||
		set.Has(leases.AttrOwnerSwitches) && r.switches != o.switches ||
		set.Has(leases.AttrCheckpoint) && r.checkpoint != o.checkpoint ||
		set.Has(leases.AttrChildren) && r.children != o.children)
}

// with returns r with the attributes of set taken from o.
func (r row) with(set leases.Attr, o row) row {
	set1(set, leases.AttrOwner, &r.owner, o.owner)
	set1(set, leases.AttrCheckpointOwner, &r.checkpointOwner, o.checkpointOwner)
	set1(set, leases.AttrHandoverTo, &r.handoverTo, o.handoverTo)
	set1(set, leases.AttrNativeOwner, &r.native, o.native)
	set1(set, leases.AttrCounter, &r.counter, o.counter)
	set1(set, leases.AttrOwnerSwitches, &r.switches, o.switches)
	set1(set, leases.AttrCheckpoint, &r.checkpoint, o.checkpoint)
	set1(set, leases.AttrChildren, &r.children, o.children)
	return r
}

func set1[T any](set, a leases.Attr, to *T, from T) {
	if set.Has(a) {
		*to = from
	}
}

// write is a conditional write to one row, as leases.Update has it.
type write struct {
	read, to    row
	expect, set leases.Attr
}

// update is the table's answer to a write: the row afterwards, and whether the write was accepted.
func (r row) update(w write) (row, bool) {
	if !r.there || !r.same(w.expect, w.read) {
		return r, false
	}
	return r.with(w.set, w.to), true
}

// remove is the table's answer to a deletion that expects the attributes expect of read.
func (r row) remove(read row, expect leases.Attr) (row, bool) {
	if !r.there || !r.same(expect, read) {
		return r, false
	}
	return row{}, true
}

// names of the workers, and of the shards.
const (
	workerNames = "?ABC"
	shardNames  = "xyz"
)

func workerName(w uint8) string {
	if w == nobody {
		return ""
	}
	return workerNames[w : w+1]
}

func workerNumber(name string) uint8 {
	if name == "" {
		return nobody
	}
	return uint8(strings.Index(workerNames, name))
}

func position(checkpoint uint8) kcl.ExtendedSequenceNumber {
	return kcl.ExtendedSequenceNumber{
		SequenceNumber: [...]string{kcl.SentinelTrimHorizon, "1", kcl.SentinelShardEnd}[checkpoint],
	}
}

// family is the shards of a stream. A shard with children is closed.
type family struct {
	name     string
	list     []kcl.Shard
	parents  [shards][]int
	children [shards][]int
	// swaps are the permutations of the shards that leave the family as it is.
	swaps [][shards]int
}

// lease returns a row of the table as the library sees it.
func (f *family) lease(s int, r row) leases.Lease {
	l := leases.Lease{
		Key: f.list[s].ID, ShardID: f.list[s].ID, HashKeyRange: f.list[s].HashKeyRange, ThroughputKBps: -1,
		Parents: f.list[s].Parents(), Owner: workerName(r.owner), CheckpointOwner: workerName(r.checkpointOwner),
		Counter: int64(r.counter), OwnerSwitchesSinceCheckpoint: int64(r.switches), Checkpoint: position(r.checkpoint),
		Extension: leases.Extension{NativeOwner: workerName(r.native), HandoverTo: workerName(r.handoverTo)},
	}
	if r.children {
		for _, c := range f.children[s] {
			l.Children = append(l.Children, f.list[c].ID)
		}
	}
	return l
}

// row returns a row as this world keeps it.
func rowOf(l leases.Lease) row {
	r := row{
		there: true, owner: workerNumber(l.Owner), checkpointOwner: workerNumber(l.CheckpointOwner),
		handoverTo: workerNumber(l.HandoverTo), native: workerNumber(l.NativeOwner),
		counter: uint8(l.Counter), switches: uint8(min(l.OwnerSwitchesSinceCheckpoint, 1)),
		children: len(l.Children) > 0,
	}
	switch {
	case l.Finished():
		r.checkpoint = atEnd
	case l.Started():
		r.checkpoint = atRecord
	}
	return r
}

// writeOf returns an update as this world keeps it.
func writeOf(u leases.Update) write {
	return write{read: rowOf(u.Read), to: rowOf(u.To), expect: u.Expect, set: u.Set}
}

// childRow returns the row that the end of shard s makes for its child c.
func (f *family) childRow(s, c int) row {
	shard := f.list[c]
	return rowOf(shardsync.ChildLease(f.lease(s, row{}),
		kcl.ChildShard{ID: shard.ID, Parents: shard.Parents(), HashKeyRange: shard.HashKeyRange}))
}
