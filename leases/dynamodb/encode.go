package dynamodb

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

type item = map[string]types.AttributeValue

// field is one attribute of an item.
type field struct {
	name string
	// value is nil if the attribute has to be absent.
	value types.AttributeValue
	// empty is a value that means the same as an absent attribute. This library never writes it.
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

func texts(name string, ids []string) field {
	f := field{name: name}
	if len(ids) > 0 {
		f.value = &types.AttributeValueMemberSS{Value: ids}
	}
	return f
}

// writer turns attributes of a lease into fields of an item. It collects the problems of values
// that cannot be written.
type writer struct {
	fields   []field
	problems []error
}

func (w *writer) add(f ...field) { w.fields = append(w.fields, f...) }

func (w *writer) check(name string, err error) {
	if err != nil {
		w.problems = append(w.problems, fmt.Errorf("%s: %w", name, err))
	}
}

// count writes a number that is never negative. An optional zero is absent.
func (w *writer) count(a leases.Field, n int64) {
	if a.Optional {
		f := field{name: a.Name, empty: integer(0)}
		switch {
		case n < 0:
			w.problems = append(w.problems, fmt.Errorf("%s %d is negative", a.Name, n))
		case n > 0:
			f.value = integer(n)
		}
		w.add(f)
		return
	}
	if n < 0 || n > maxCounter {
		w.problems = append(w.problems, fmt.Errorf("%s %d is not between 0 and %d", a.Name, n, int64(maxCounter)))
	}
	w.add(field{name: a.Name, value: integer(n)})
}

func (w *writer) moment(name string, t time.Time) {
	f := field{name: name}
	if !t.IsZero() {
		s, err := formatSeconds(t)
		w.check(name, err)
		f.value = num(s)
	}
	w.add(f)
}

// position writes a sequence number and its sub-sequence number. An optional zero is absent.
func (w *writer) position(a leases.Field, n kcl.ExtendedSequenceNumber) {
	sub := field{name: a.Second, empty: integer(0)}
	if !a.Optional || !n.IsZero() {
		w.check(a.Name, n.Validate())
		sub.value = integer(n.SubSequenceNumber)
	}
	w.add(text(a.Name, n.SequenceNumber), sub)
}

func (w *writer) throughput(name string, t float64) {
	f := field{name: name}
	switch {
	case math.IsNaN(t) || t > 1e100:
		w.problems = append(w.problems, fmt.Errorf("%s %v is not a number in range", name, t))
	case t >= 0:
		if t < 1e-100 {
			t = 0
		}
		f.value = num(formatThroughput(t))
	}
	w.add(f)
}

// state writes the state of a pending checkpoint, and nothing without a pending checkpoint.
func (w *writer) state(name string, state []byte, pending kcl.ExtendedSequenceNumber) {
	f := field{name: name, empty: &types.AttributeValueMemberB{Value: []byte{}}}
	if len(state) > 0 && !pending.IsZero() {
		f.value = &types.AttributeValueMemberB{Value: state}
	}
	w.add(f)
}

func (w *writer) attribute(a leases.Field, value any, state *[]byte) {
	switch v := value.(type) {
	case *string:
		w.add(text(a.Name, *v))
	case *int64:
		w.count(a, *v)
	case *float64:
		w.throughput(a.Name, *v)
	case *time.Time:
		w.moment(a.Name, *v)
	case *[]string:
		w.add(texts(a.Name, *v))
	case *leases.Origin:
		if err := new(leases.Origin).UnmarshalText([]byte(v.String())); err != nil {
			w.problems = append(w.problems, fmt.Errorf("%s %q: %w", a.Name, *v, err))
		}
		w.add(text(a.Name, v.String()))
	case *kcl.ExtendedSequenceNumber:
		w.position(a, *v)
		if state != nil {
			w.state(a.State, *state, *v)
		}
	case *kcl.HashKeyRange:
		if err := v.Validate(); !v.IsZero() && err != nil {
			w.problems = append(w.problems, err)
		}
		w.add(text(a.Name, v.Start), text(a.Second, v.End))
	default:
		panic("leases/dynamodb: no rule for the type of " + a.Name)
	}
}

// fields returns the fields of the attributes attrs of l, in a fixed order. The error names every
// value that cannot be written.
func fields(l leases.Lease, attrs leases.Attr) ([]field, error) {
	w := &writer{fields: make([]field, 0, bits.OnesCount32(uint32(attrs))+4)} // some attributes have two or three fields
	for ; attrs != 0; attrs &^= attrs.First() {
		w.attribute(attrs.First().Field(&l))
	}
	if err := errors.Join(w.problems...); err != nil {
		return nil, fmt.Errorf("lease %q cannot be written: %w", l.Key, err)
	}
	return w.fields, nil
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

// name returns the placeholder of an attribute.
func (e *expression) name(attribute string) string {
	p := "#" + attribute
	e.names[p] = attribute
	return p
}

// value returns a placeholder. kind tells placeholders of conditions from those of changes.
func (e *expression) value(kind, attribute string, v types.AttributeValue) string {
	p := ":" + kind + attribute
	e.values[p] = v
	return p
}

// condition is the condition that the row exists and its attributes expect are as in read.
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
		case f.value == nil || sameNumber(f.value, f.empty):
			terms = append(terms, "("+e.absent(f.name)+" OR "+n+" = "+e.value("is_", f.name, f.empty)+")")
		default:
			terms = append(terms, n+" = "+e.value("is_", f.name, f.value))
		}
	}
	return strings.Join(terms, " AND "), nil
}

// sameNumber tells whether a and b are numbers in the same digits.
func sameNumber(a, b types.AttributeValue) bool {
	x, ok1 := a.(*types.AttributeValueMemberN)
	y, ok2 := b.(*types.AttributeValueMemberN)
	return ok1 && ok2 && x.Value == y.Value
}

// update is an update expression that sets the attributes attrs to their values in to. It is empty
// if attrs is empty.
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

// clauses is an update expression. It is empty without sets and removes.
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
