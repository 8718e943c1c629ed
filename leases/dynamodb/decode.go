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

// isLease tells whether an item of the table is a lease. All items of KCL 3.5 have entityType.
// Older leases do not have it. An item without it is no lease if it has an attribute of another
// kind, and none of a lease.
func isLease(it item) bool {
	if t, ok := it[attrEntityType].(*types.AttributeValueMemberS); ok {
		return t.Value == entityLease || t.Value == ""
	}
	if it[attrEntityType] != nil || it[attrCounter] != nil || it[attrCheckpoint] != nil {
		return true // it may be a damaged lease
	}
	return it[attrLockVersion] == nil && it[attrClientVersion] == nil && it[attrTableMigration] == nil &&
		it[attrMetricsLastUpdated] == nil
}

// reader reads the attributes of an item, and collects their problems.
type reader struct {
	item     item
	problems []error
}

// wrong adds the problem that an attribute is not what it should be.
func (r *reader) wrong(name, want string) {
	found := "missing"
	if v := r.item[name]; v != nil {
		found = describe(v)
	}
	r.problems = append(r.problems, fmt.Errorf("attribute %s is %s, want %s", name, found, want))
}

// text reads an S. It returns "" when the attribute is absent.
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

// number reads the digits of an N. It returns "" when the attribute is absent.
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

// integer reads a whole number from 0 to limit. Only a number that is required is wrong when it is
// absent.
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

// seconds reads a time. It returns the zero time when the attribute is absent.
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
	var o leases.Origin
	if err := o.UnmarshalText([]byte(r.text(name))); err != nil {
		r.wrong(name, strings.TrimPrefix(err.Error(), "want "))
	}
	return o
}

func (r *reader) texts(name string) []string {
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
func (r *reader) position(a leases.Field) kcl.ExtendedSequenceNumber {
	const sentinels = "TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END"
	before := len(r.problems)
	n := kcl.ExtendedSequenceNumber{SequenceNumber: r.text(a.Name)}
	if n.SequenceNumber == "" {
		if !a.Optional && len(r.problems) == before {
			r.wrong(a.Name, "a sequence number, or "+sentinels)
		}
		return kcl.ExtendedSequenceNumber{}
	}
	if n.Validate() != nil {
		r.wrong(a.Name, "decimal digits, or "+sentinels)
	}
	n.SubSequenceNumber = r.integer(a.Second, maxSubSequence, false)
	return n
}

// hashKeys reads a range of hash keys.
func (r *reader) hashKeys(a leases.Field) kcl.HashKeyRange {
	h := kcl.HashKeyRange{Start: r.text(a.Name), End: r.text(a.Second)}
	if !h.IsZero() && (len(h.Start)+len(h.End) > 100 || h.Validate() != nil) {
		r.wrong(a.Name, "with "+a.Second+" two decimal numbers in order between 0 and 2^128-1")
	}
	return h
}

// throughput reads a number that is not negative. It returns -1 when the number is absent.
func (r *reader) throughput(name string) float64 {
	s := r.number(name)
	if s == "" {
		return -1
	}
	n, err := parseDecimal(s)
	if err != nil || n.Sign() < 0 {
		r.wrong(name, "a number that is not negative")
		return -1
	}
	f, _ := n.Float64()
	if f > 1e100 {
		r.wrong(name, "at most 1E100")
	}
	return f
}

// attribute reads one attribute of a lease into value and state.
func (r *reader) attribute(a leases.Field, value any, state *[]byte) {
	switch v := value.(type) {
	case *string:
		*v = r.text(a.Name)
	case *int64:
		if a.Optional {
			*v = r.integer(a.Name, math.MaxInt64, false)
		} else {
			*v = r.integer(a.Name, maxCounter, true)
		}
	case *float64:
		*v = r.throughput(a.Name)
	case *time.Time:
		*v = r.seconds(a.Name)
	case *[]string:
		*v = r.texts(a.Name)
	case *leases.Origin:
		*v = r.origin(a.Name)
	case *kcl.ExtendedSequenceNumber:
		*v = r.position(a)
		if state != nil {
			if b := r.bytes(a.State); !v.IsZero() {
				*state = b
			}
		}
	case *kcl.HashKeyRange:
		*v = r.hashKeys(a)
	default:
		panic("leases/dynamodb: no rule for the type of " + a.Name)
	}
}

// decode reads an item. The error names every attribute that is wrong. The lease then holds the
// attributes that could be read.
func decode(it item) (leases.Lease, *leases.RowError) {
	r := &reader{item: it}
	l := leases.Lease{Key: r.text(attrKey), Stream: r.text(attrStream)}
	if l.Key == "" {
		r.wrong(attrKey, "a string (S)")
	}
	if _, ok := it[attrEntityType].(*types.AttributeValueMemberS); !ok && it[attrEntityType] != nil {
		r.wrong(attrEntityType, "a string (S)")
	}
	if l.ShardID = l.Key; l.Stream != "" {
		l.ShardID = r.text(attrShardID)
		if l.Key != l.Stream+":"+l.ShardID {
			r.wrong(attrShardID, fmt.Sprintf("the end of %s after %s", attrKey, attrStream))
		}
	}
	for set := leases.AttrAll; set != 0; set &^= set.First() {
		r.attribute(set.First().Field(&l))
	}
	if err := errors.Join(r.problems...); err != nil {
		return l, &leases.RowError{Key: l.Key, Err: fmt.Errorf("%w; correct the attributes, or delete the item to read "+
			"the shard from the application's initial position; until then the shard is left alone", err)}
	}
	return l, nil
}

// describe returns the type and the beginning of a value, in printable characters.
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
