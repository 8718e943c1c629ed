package redis

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// maxCounter is the largest counter. A larger one is damage. A counter can grow beyond it without
// an overflow.
const maxCounter = 1 << 62

// field is one field of a row. An empty value means that the field is absent.
type field struct{ name, value string }

// writer turns attributes into fields. It collects the problems of values that cannot be written.
type writer struct {
	fields   []field
	problems []error
}

func (w *writer) add(name, value string) { w.fields = append(w.fields, field{name, value}) }

func (w *writer) check(name string, err error) {
	if err != nil {
		w.problems = append(w.problems, fmt.Errorf("%s: %w", name, err))
	}
}

// count writes a number that is never negative. An optional zero is absent.
func (w *writer) count(a leases.Field, n int64) {
	switch {
	case a.Optional && n < 0:
		w.check(a.Name, fmt.Errorf("%d is negative", n))
	case a.Optional && n == 0:
		w.add(a.Name, "")
		return
	case !a.Optional && (n < 0 || n > maxCounter):
		w.check(a.Name, fmt.Errorf("%d is not between 0 and %d", n, int64(maxCounter)))
	}
	w.add(a.Name, strconv.FormatInt(n, 10))
}

// position writes a sequence number and its sub-sequence number. An optional zero is absent.
func (w *writer) position(a leases.Field, n kcl.ExtendedSequenceNumber) {
	if a.Optional && n.IsZero() {
		w.add(a.Name, "")
		w.add(a.Second, "")
		return
	}
	w.check(a.Name, n.Validate())
	w.add(a.Name, n.SequenceNumber)
	w.add(a.Second, strconv.FormatInt(n.SubSequenceNumber, 10))
}

func (w *writer) shardIDs(name string, ids []string) {
	s, err := formatSet(ids)
	w.check(name, err)
	w.add(name, s)
}

func (w *writer) moment(name string, t time.Time) {
	s, err := formatTime(t)
	w.check(name, err)
	w.add(name, s)
}

// state writes the state of a pending checkpoint, and nothing without a pending checkpoint.
func (w *writer) state(name string, state []byte, pending kcl.ExtendedSequenceNumber) {
	if pending.IsZero() {
		state = nil
	}
	w.add(name, string(state))
}

func (w *writer) attribute(a leases.Field, value any, state *[]byte) {
	switch v := value.(type) {
	case *string:
		w.add(a.Name, *v)
	case *int64:
		w.count(a, *v)
	case *float64:
		s, err := formatThroughput(*v)
		w.check(a.Name, err)
		w.add(a.Name, s)
	case *time.Time:
		w.moment(a.Name, *v)
	case *[]string:
		w.shardIDs(a.Name, *v)
	case *leases.Origin:
		w.check(a.Name, new(leases.Origin).UnmarshalText([]byte(v.String())))
		w.add(a.Name, v.String())
	case *kcl.ExtendedSequenceNumber:
		w.position(a, *v)
		if state != nil {
			w.state(a.State, *state, *v)
		}
	case *kcl.HashKeyRange:
		if !v.IsZero() {
			w.check(a.Name, v.Validate())
		}
		w.add(a.Name, v.Start)
		w.add(a.Second, v.End)
	default:
		panic("leases/redis: no rule for the type of " + a.Name)
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

// encode returns the fields of a new row. It leaves out those that are absent.
func encode(l leases.Lease) ([]field, error) {
	fs, err := fields(l, leases.AttrAll)
	if err != nil {
		return nil, err
	}
	if l.Key == "" {
		return nil, errors.New("a lease without a key cannot be written")
	}
	row := []field{{fieldKey, l.Key}}
	if l.Stream != "" {
		row = append(row, field{fieldStream, l.Stream}, field{fieldShardID, l.ShardID})
	}
	row = append(row, fs...)
	return slices.DeleteFunc(row, func(f field) bool { return f.value == "" }), nil
}

// arguments returns fields as arguments of a script.
func arguments(fs []field) []any {
	args := make([]any, 0, 2*len(fs))
	for _, f := range fs {
		args = append(args, f.name, f.value)
	}
	return args
}

// formatSet formats a set of shard ids. Equal sets are equal texts, because scripts compare texts.
func formatSet(ids []string) (string, error) {
	for _, id := range ids {
		if id == "" || strings.Contains(id, ",") {
			return "", fmt.Errorf("%q is no shard id", id)
		}
	}
	return strings.Join(slices.Sorted(slices.Values(ids)), ","), nil
}

// formatThroughput formats a number in its one form. The result is empty when the number is not
// known.
func formatThroughput(f float64) (string, error) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 1):
		return "", fmt.Errorf("%v is not a number in range", f)
	case f < 0:
		return "", nil
	case f == 0:
		return "0", nil // not -0
	}
	return strconv.FormatFloat(f, 'g', -1, 64), nil
}

// formatTime formats a time in its one form. The result is empty for the zero time.
func formatTime(t time.Time) (string, error) {
	if t.IsZero() {
		return "", nil
	}
	if t.Unix() < 0 || t.UTC().Year() > 9999 {
		return "", fmt.Errorf("%v is not between 1970 and 9999", t)
	}
	return t.UTC().Format(time.RFC3339Nano), nil
}
