package leases

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/kinesis-go/kcl"
)

// Attr is a set of attributes of a [Lease]. Attributes that are always written together are one
// bit. [Attr.Field] returns the fields of an attribute.
type Attr uint32

// The attributes that an [Update] can set or expect. Key, Stream and ShardID never change.
const (
	AttrOwner Attr = 1 << iota
	AttrCheckpointOwner
	AttrCounter
	AttrOwnerSwitches
	AttrCheckpoint
	AttrPending
	AttrParents
	AttrChildren
	AttrHashKeyRange
	AttrThroughput
	AttrNativeOwner
	AttrPinnedAt
	AttrStreamCreated
	AttrApplication
	AttrStreamARN
	AttrOrigin
	AttrPaused
	AttrReset
	AttrReached
	AttrAbilities
	AttrHandoverTo

	// AttrAll is every attribute.
	AttrAll Attr = 1<<iota - 1
)

// Has tells whether a contains every attribute of b.
func (a Attr) Has(b Attr) bool { return a&b == b }

// Field says under which names a table keeps an attribute.
type Field struct {
	// Name is the attribute's name in a table. It is the name of the KCL where the KCL has the
	// attribute. Names that begin with go belong to this library.
	Name string
	// Second is the name of the second part of a sequence number or of a range of hash keys.
	Second string
	// State is the name of the state of a pending checkpoint. It is empty for other attributes.
	State string
	// Optional says that a table leaves out a number or a position that is zero. Empty values of other
	// types are always left out.
	Optional bool
}

// First returns one attribute of a set that is not empty. To iterate, remove it from the set.
func (a Attr) First() Attr { return a & -a }

// Field returns the field of an attribute, and pointers into l. value is a *string, *int64,
// *float64, *time.Time, *[]string, *Origin, *kcl.ExtendedSequenceNumber or *kcl.HashKeyRange. state
// is nil unless the field has a State.
//
// Field is the only list of attributes. With, Same, leasetest, and the encoders and decoders of
// stores iterate over it. A new attribute needs a bit and a case in Field. Encoders and decoders
// need a change only for a new type.
//
// The list is a switch that returns pointers, which keeps l off the heap.
func (a Attr) Field(l *Lease) (f Field, value any, state *[]byte) {
	switch a {
	case AttrOwner:
		return Field{Name: "leaseOwner"}, &l.Owner, nil
	case AttrCheckpointOwner:
		return Field{Name: "checkpointOwner"}, &l.CheckpointOwner, nil
	case AttrCounter:
		return Field{Name: "leaseCounter"}, &l.Counter, nil
	case AttrOwnerSwitches:
		return Field{Name: "ownerSwitchesSinceCheckpoint"}, &l.OwnerSwitchesSinceCheckpoint, nil
	case AttrCheckpoint:
		return Field{Name: "checkpoint", Second: "checkpointSubSequenceNumber"}, &l.Checkpoint, nil
	case AttrPending:
		return Field{
			Name: "pendingCheckpoint", Second: "pendingCheckpointSubSequenceNumber", State: "pendingCheckpointState",
			Optional: true,
		}, &l.Pending, &l.PendingState
	case AttrParents:
		return Field{Name: "parentShardId"}, &l.Parents, nil
	case AttrChildren:
		return Field{Name: "childShardIds"}, &l.Children, nil
	case AttrHashKeyRange:
		return Field{Name: "startingHashKey", Second: "endingHashKey"}, &l.HashKeyRange, nil
	case AttrThroughput:
		return Field{Name: "throughputKBps"}, &l.ThroughputKBps, nil
	case AttrNativeOwner:
		return Field{Name: "goOwner"}, &l.NativeOwner, nil
	case AttrPinnedAt:
		return Field{Name: "goPinnedAt"}, &l.PinnedAt, nil
	case AttrStreamCreated:
		return Field{Name: "goStreamCreated"}, &l.StreamCreated, nil
	case AttrApplication:
		return Field{Name: "goApp"}, &l.Application, nil
	case AttrStreamARN:
		return Field{Name: "goStream"}, &l.StreamARN, nil
	case AttrOrigin:
		return Field{Name: "goOrigin"}, &l.Origin, nil
	case AttrPaused:
		return Field{Name: "goPaused"}, &l.Paused, nil
	case AttrReset:
		return Field{Name: "goReset"}, &l.Reset, nil
	case AttrReached:
		return Field{Name: "goReached"}, &l.Reached, nil
	case AttrAbilities:
		return Field{Name: "goCan", Optional: true}, &l.Abilities, nil
	case AttrHandoverTo:
		return Field{Name: "goHandoverTo"}, &l.HandoverTo, nil
	}
	panic("leases: not one attribute: " + strconv.FormatUint(uint64(a), 2))
}

// With returns a copy of l in which the attributes of set have the values of m.
func (l Lease) With(set Attr, m Lease) Lease {
	for ; set != 0; set &^= set.First() {
		_, to, toState := set.First().Field(&l)
		_, from, state := set.First().Field(&m)
		copyValue(to, from)
		if state != nil {
			*toState = *state
		}
	}
	return l
}

// copyValue sets *to to *from. Both are pointers of one type.
func copyValue(to, from any) {
	switch to := to.(type) {
	case *string:
		*to = *from.(*string)
	case *int64:
		*to = *from.(*int64)
	case *float64:
		*to = *from.(*float64)
	case *time.Time:
		*to = *from.(*time.Time)
	case *[]string:
		*to = *from.(*[]string)
	case *Origin:
		*to = *from.(*Origin)
	case *kcl.ExtendedSequenceNumber:
		*to = *from.(*kcl.ExtendedSequenceNumber)
	case *kcl.HashKeyRange:
		*to = *from.(*kcl.HashKeyRange)
	default:
		panic("leases: no attribute has this type")
	}
}

// Same tells whether l and m have equal values of the attributes in set. The order of shard ids in
// Parents and Children does not matter.
func (l Lease) Same(set Attr, m Lease) bool {
	for ; set != 0; set &^= set.First() {
		_, a, state := set.First().Field(&l)
		_, b, other := set.First().Field(&m)
		if !sameValue(a, b) || (state != nil && !bytes.Equal(*state, *other)) {
			return false
		}
	}
	return true
}

// sameValue tells whether *a and *b are equal. Both are pointers of one type.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case *string:
		return *a == *b.(*string)
	case *int64:
		return *a == *b.(*int64)
	case *float64:
		return *a == *b.(*float64)
	case *time.Time:
		return a.Equal(*b.(*time.Time))
	case *[]string:
		return sameSet(*a, *b.(*[]string))
	case *Origin:
		return a.Equal(*b.(*Origin))
	case *kcl.ExtendedSequenceNumber:
		return *a == *b.(*kcl.ExtendedSequenceNumber)
	case *kcl.HashKeyRange:
		return *a == *b.(*kcl.HashKeyRange)
	}
	panic("leases: no attribute has this type")
}

// sameSet tells whether a and b have the same elements in any order.
func sameSet(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
