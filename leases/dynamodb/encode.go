package dynamodb

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/leases"
)

type item = map[string]types.AttributeValue

// field is one attribute of an item as a lease determines it.
type field struct {
	name string
	// value is nil when the attribute is to be absent.
	value types.AttributeValue
	// empty is read as absence, although we never write it in its place.
	empty types.AttributeValue
}

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
func integer(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func text(name, s string) field {
	f := field{name: name, empty: str("")}
	if s != "" {
		f.value = str(s)
	}
	return f
}

func set(name string, ids []string) field {
	f := field{name: name}
	if len(ids) > 0 {
		f.value = &types.AttributeValueMemberSS{Value: ids}
	}
	return f
}

// fields returns the attributes of l that a set names, in a fixed order. An
// error says that l cannot stand in a table.
func fields(l leases.Lease, attrs leases.Attr) ([]field, error) {
	var fs []field
	var problems []error
	add := func(f ...field) { fs = append(fs, f...) }
	count := func(name string, n int64) {
		if n < 0 || n > maxCounter {
			problems = append(problems, fmt.Errorf("%s %d is not between 0 and %d", name, n, int64(maxCounter)))
		}
		add(field{name: name, value: integer(n)})
	}
	moment := func(name string, t time.Time) {
		f := field{name: name}
		if !t.IsZero() {
			s, err := formatSeconds(t)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
			}
			f.value = num(s)
		}
		add(f)
	}
	if attrs.Has(leases.AttrCounter) {
		count(attrCounter, l.Counter)
	}
	if attrs.Has(leases.AttrOwner) {
		add(text(attrOwner, l.Owner))
	}
	if attrs.Has(leases.AttrCheckpointOwner) {
		add(text(attrCheckpointOwner, l.CheckpointOwner))
	}
	if attrs.Has(leases.AttrOwnerSwitches) {
		count(attrOwnerSwitches, l.OwnerSwitchesSinceCheckpoint)
	}
	if attrs.Has(leases.AttrCheckpoint) {
		if err := l.Checkpoint.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", attrCheckpoint, err))
		}
		add(text(attrCheckpoint, l.Checkpoint.SequenceNumber),
			field{name: attrCheckpointSub, value: integer(l.Checkpoint.SubSequenceNumber), empty: integer(0)})
	}
	if attrs.Has(leases.AttrPending) {
		pending, sub, state := text(attrPending, l.Pending.SequenceNumber), field{name: attrPendingSub, empty: integer(0)}, field{name: attrPendingState, empty: &types.AttributeValueMemberB{Value: []byte{}}}
		if !l.Pending.IsZero() {
			if err := l.Pending.Validate(); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", attrPending, err))
			}
			sub.value = integer(l.Pending.SubSequenceNumber)
			if len(l.PendingState) > 0 {
				state.value = &types.AttributeValueMemberB{Value: l.PendingState}
			}
		}
		add(pending, sub, state)
	}
	if attrs.Has(leases.AttrParents) {
		add(set(attrParents, l.Parents))
	}
	if attrs.Has(leases.AttrChildren) {
		add(set(attrChildren, l.Children))
	}
	if attrs.Has(leases.AttrHashKeyRange) {
		if err := l.HashKeyRange.Validate(); !l.HashKeyRange.IsZero() && err != nil {
			problems = append(problems, err)
		}
		add(text(attrStartingHashKey, l.HashKeyRange.Start), text(attrEndingHashKey, l.HashKeyRange.End))
	}
	if attrs.Has(leases.AttrThroughput) {
		f := field{name: attrThroughput}
		switch t := l.ThroughputKBps; {
		case math.IsNaN(t) || t > 1e100:
			problems = append(problems, fmt.Errorf("%s %v is not a number in range", attrThroughput, t))
		case t >= 0:
			if t < 1e-100 {
				t = 0
			}
			f.value = num(formatThroughput(t))
		}
		add(f)
	}
	if attrs.Has(leases.AttrNativeOwner) {
		add(text(attrNativeOwner, l.NativeOwner))
	}
	if attrs.Has(leases.AttrHandoverTo) {
		add(text(attrHandoverTo, l.HandoverTo))
	}
	if attrs.Has(leases.AttrPinnedAt) {
		moment(attrPinnedAt, l.PinnedAt)
	}
	if attrs.Has(leases.AttrStreamCreated) {
		moment(attrStreamCreated, l.StreamCreated)
	}
	if attrs.Has(leases.AttrApplication) {
		add(text(attrApplication, l.Application))
	}
	if attrs.Has(leases.AttrStreamARN) {
		add(text(attrStreamARN, l.StreamARN))
	}
	if attrs.Has(leases.AttrOrigin) {
		if _, err := leases.ParseOrigin(l.Origin.String()); err != nil {
			problems = append(problems, fmt.Errorf("%s %q: %w", attrOrigin, l.Origin, err))
		}
		add(text(attrOrigin, l.Origin.String()))
	}
	if attrs.Has(leases.AttrPaused) {
		add(text(attrPaused, l.Paused))
	}
	if attrs.Has(leases.AttrReset) {
		add(text(attrReset, l.Reset))
	}
	if attrs.Has(leases.AttrReached) {
		moment(attrReached, l.Reached)
	}
	if attrs.Has(leases.AttrAbilities) {
		f := field{name: attrAbilities, empty: integer(0)}
		switch {
		case l.Abilities < 0:
			problems = append(problems, fmt.Errorf("%s %d is negative", attrAbilities, l.Abilities))
		case l.Abilities > 0:
			f.value = integer(l.Abilities)
		}
		add(f)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("lease %q cannot be written: %w", l.Key, err)
	}
	return fs, nil
}

// encode returns the whole item of a new lease.
func encode(l leases.Lease) (item, error) {
	fs, err := fields(l, leases.AttrAll)
	if err != nil {
		return nil, err
	}
	it := item{attrKey: str(l.Key), attrEntityType: str(entityLease)}
	if l.Stream != "" {
		it[attrStream], it[attrShardID] = str(l.Stream), str(l.ShardID)
	}
	for _, f := range fs {
		if f.value != nil {
			it[f.name] = f.value
		}
	}
	return it, nil
}

// expression collects placeholders for one request.
type expression struct {
	names  map[string]string
	values item
}

func newExpression() *expression {
	return &expression{names: map[string]string{}, values: item{}}
}

func (e *expression) name(attribute string) string {
	p := "#" + attribute
	e.names[p] = attribute
	return p
}

// value returns a placeholder; kind keeps those of conditions and changes apart.
func (e *expression) value(kind, attribute string, v types.AttributeValue) string {
	p := ":" + kind + attribute
	e.values[p] = v
	return p
}

// condition is that the row exists and the attributes expect are as in read.
func (e *expression) condition(read leases.Lease, expect leases.Attr) (string, error) {
	fs, err := fields(read, expect)
	if err != nil {
		return "", err
	}
	terms := []string{e.exists(attrKey)}
	for _, f := range fs {
		n := e.name(f.name)
		switch {
		case f.value == nil && f.empty == nil:
			terms = append(terms, e.absent(f.name))
		case f.value == nil || same(f.value, f.empty):
			terms = append(terms, "("+e.absent(f.name)+" OR "+n+" = "+e.value("is_", f.name, f.empty)+")")
		default:
			terms = append(terms, n+" = "+e.value("is_", f.name, f.value))
		}
	}
	return strings.Join(terms, " AND "), nil
}

// same compares an integer with the one that stands for absence.
func same(a, b types.AttributeValue) bool {
	x, ok1 := a.(*types.AttributeValueMemberN)
	y, ok2 := b.(*types.AttributeValueMemberN)
	return ok1 && ok2 && x.Value == y.Value
}

// update sets the attributes attrs to their values in to; it is empty when
// attrs is.
func (e *expression) update(to leases.Lease, attrs leases.Attr) (string, error) {
	fs, err := fields(to, attrs)
	if err != nil {
		return "", err
	}
	var sets, removes []string
	for _, f := range fs {
		n := e.name(f.name)
		if f.value == nil {
			removes = append(removes, n)
		} else {
			sets = append(sets, n+" = "+e.value("to_", f.name, f.value))
		}
	}
	return clauses(sets, removes), nil
}

// clauses is an update expression; empty when there is nothing to do.
func clauses(sets, removes []string) string {
	var out []string
	if len(sets) > 0 {
		out = append(out, "SET "+strings.Join(sets, ", "))
	}
	if len(removes) > 0 {
		out = append(out, "REMOVE "+strings.Join(removes, ", "))
	}
	return strings.Join(out, " ")
}
