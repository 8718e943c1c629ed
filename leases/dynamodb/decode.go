package dynamodb

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// maxSubSequence is the largest sub-sequence number that an item can hold.
const maxSubSequence = math.MaxInt64

// isLease tells whether an item of the table is a lease. KCL 3.5 marks all its
// items with entityType; older leases have none. An item without it that bears
// the marks of another kind, and none of a lease, is no lease either.
func isLease(it item) bool {
	if t, ok := it[attrEntityType].(*types.AttributeValueMemberS); ok {
		return t.Value == entityLease || t.Value == ""
	}
	if it[attrEntityType] != nil || it[attrCounter] != nil || it[attrCheckpoint] != nil {
		return true // perhaps a damaged one
	}
	return it[attrLockVersion] == nil && it[attrClientVersion] == nil && it[attrTableMigration] == nil && it[attrMetricsLastUpdated] == nil
}

// reader takes attributes out of an item and collects what is wrong with them.
type reader struct {
	item     item
	problems []error
}

func (r *reader) wrong(name, want string) {
	found := "missing"
	if v := r.item[name]; v != nil {
		found = describe(v)
	}
	r.problems = append(r.problems, fmt.Errorf("attribute %s is %s, want %s", name, found, want))
}

// text reads an S; absent and empty are the same.
func (r *reader) text(name string) string {
	switch v := r.item[name].(type) {
	case nil:
	case *types.AttributeValueMemberS:
		return v.Value
	default:
		r.wrong(name, "a string (S)")
	}
	return ""
}

// number reads the digits of an N; "" when it is absent.
func (r *reader) number(name string) string {
	switch v := r.item[name].(type) {
	case nil:
	case *types.AttributeValueMemberN:
		return v.Value
	default:
		r.wrong(name, "a number (N)")
	}
	return ""
}

func (r *reader) integer(name string, limit int64, required bool) int64 {
	before := len(r.problems)
	s := r.number(name)
	if s == "" {
		if required && len(r.problems) == before {
			r.wrong(name, "a number (N)")
		}
		return 0
	}
	n, err := parseInt(s, limit)
	if err != nil {
		r.wrong(name, strings.TrimPrefix(err.Error(), "want "))
	}
	return n
}

func (r *reader) seconds(name string) time.Time {
	s := r.number(name)
	if s == "" {
		return time.Time{}
	}
	t, err := parseSeconds(s)
	if err != nil {
		r.wrong(name, strings.TrimPrefix(err.Error(), "want "))
	}
	return t
}

func (r *reader) origin(name string) leases.Origin {
	o, err := leases.ParseOrigin(r.text(name))
	if err != nil {
		r.wrong(name, strings.TrimPrefix(err.Error(), "want "))
	}
	return o
}

func (r *reader) set(name string) []string {
	switch v := r.item[name].(type) {
	case nil:
		return nil
	case *types.AttributeValueMemberSS:
		return v.Value
	}
	r.wrong(name, "a set of strings (SS)")
	return nil
}

func (r *reader) bytes(name string) []byte {
	switch v := r.item[name].(type) {
	case nil:
	case *types.AttributeValueMemberB:
		if len(v.Value) > 0 {
			return v.Value
		}
	default:
		r.wrong(name, "bytes (B)")
	}
	return nil
}

// position reads a sequence number and its sub-sequence number.
func (r *reader) position(name, sub string) kcl.ExtendedSequenceNumber {
	n := kcl.ExtendedSequenceNumber{SequenceNumber: r.text(name)}
	if n.SequenceNumber == "" {
		return kcl.ExtendedSequenceNumber{}
	}
	if n.Validate() != nil {
		r.wrong(name, "decimal digits, or TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END")
	}
	n.SubSequenceNumber = r.integer(sub, maxSubSequence, false)
	return n
}

// decode reads an item. The error says every attribute that is wrong, and the
// lease holds what could be read nevertheless.
func decode(it item) (leases.Lease, *leases.RowError) {
	r := &reader{item: it}
	l := leases.Lease{
		Key:                          r.text(attrKey),
		Stream:                       r.text(attrStream),
		Owner:                        r.text(attrOwner),
		CheckpointOwner:              r.text(attrCheckpointOwner),
		Counter:                      r.integer(attrCounter, maxCounter, true),
		OwnerSwitchesSinceCheckpoint: r.integer(attrOwnerSwitches, maxCounter, true),
		Checkpoint:                   r.position(attrCheckpoint, attrCheckpointSub),
		Pending:                      r.position(attrPending, attrPendingSub),
		Parents:                      r.set(attrParents),
		Children:                     r.set(attrChildren),
		HashKeyRange:                 kcl.HashKeyRange{Start: r.text(attrStartingHashKey), End: r.text(attrEndingHashKey)},
		ThroughputKBps:               -1,
		NativeOwner:                  r.text(attrNativeOwner),
		PinnedAt:                     r.seconds(attrPinnedAt),
		StreamCreated:                r.seconds(attrStreamCreated),
		Application:                  r.text(attrApplication),
		StreamARN:                    r.text(attrStreamARN),
		Origin:                       r.origin(attrOrigin),
		Paused:                       r.text(attrPaused),
		Reset:                        r.text(attrReset),
		Reached:                      r.seconds(attrReached),
		Abilities:                    r.integer(attrAbilities, math.MaxInt64, false),
		HandoverTo:                   r.text(attrHandoverTo),
	}
	if l.Key == "" {
		r.wrong(attrKey, "a string (S)")
	}
	if _, ok := it[attrEntityType].(*types.AttributeValueMemberS); !ok && it[attrEntityType] != nil {
		r.wrong(attrEntityType, "a string (S)")
	}
	if v, ok := it[attrCheckpoint].(*types.AttributeValueMemberS); it[attrCheckpoint] == nil || ok && v.Value == "" {
		r.wrong(attrCheckpoint, "a sequence number, or TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END")
	}
	if state := r.bytes(attrPendingState); !l.Pending.IsZero() {
		l.PendingState = state
	}
	if l.ShardID = l.Key; l.Stream != "" {
		l.ShardID = r.text(attrShardID)
		if l.Key != l.Stream+":"+l.ShardID {
			r.wrong(attrShardID, fmt.Sprintf("the end of %s after %s", attrKey, attrStream))
		}
	}
	if h := l.HashKeyRange; !h.IsZero() && (len(h.Start)+len(h.End) > 100 || h.Validate() != nil) {
		r.wrong(attrStartingHashKey, "with "+attrEndingHashKey+" two decimal numbers in order between 0 and 2^128-1")
	}
	if s := r.number(attrThroughput); s != "" {
		n, err := parseDecimal(s)
		if err != nil || n.Sign() < 0 {
			r.wrong(attrThroughput, "a number that is not negative")
		} else if l.ThroughputKBps, _ = n.Float64(); l.ThroughputKBps > 1e100 {
			r.wrong(attrThroughput, "at most 1E100")
		}
	}
	if err := errors.Join(r.problems...); err != nil {
		return l, &leases.RowError{Key: l.Key, Err: fmt.Errorf("%w; correct the attributes, or delete the item to read the shard from the application's initial position; until then the shard is left alone", err)}
	}
	return l, nil
}

// describe says the type and the beginning of a value, in printable characters.
func describe(v types.AttributeValue) string {
	cut := func(kind string, text any) string {
		s := fmt.Sprintf("%q", text)
		if len(s) > 80 {
			s = s[:80] + "..."
		}
		return kind + " " + s
	}
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return cut("S", v.Value)
	case *types.AttributeValueMemberN:
		return cut("N", v.Value)
	case *types.AttributeValueMemberB:
		return cut("B", v.Value)
	case *types.AttributeValueMemberSS:
		return cut("SS", v.Value)
	case *types.AttributeValueMemberNS:
		return cut("NS", v.Value)
	case *types.AttributeValueMemberBOOL:
		return fmt.Sprintf("BOOL %v", v.Value)
	case *types.AttributeValueMemberNULL:
		return "NULL"
	case *types.AttributeValueMemberL:
		return fmt.Sprintf("a list (L) of %d", len(v.Value))
	case *types.AttributeValueMemberM:
		return fmt.Sprintf("a map (M) of %d", len(v.Value))
	}
	return "of a type that a lease does not use"
}
