package redis

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// maxCounter leaves room to count on: a counter beyond it is damage.
const maxCounter = 1 << 62

// field is one field of a row as a lease determines it; an empty value means
// that the field is absent.
type field struct{ name, value string }

// writer turns attributes into fields, and collects what cannot be written.
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

func (w *writer) count(name string, n int64) {
	if n < 0 || n > maxCounter {
		w.check(name, fmt.Errorf("%d is not between 0 and %d", n, int64(maxCounter)))
	}
	w.add(name, strconv.FormatInt(n, 10))
}

// bits writes a set of bits; none is absent.
func (w *writer) bits(name string, n int64) {
	switch {
	case n < 0:
		w.check(name, fmt.Errorf("%d is negative", n))
	case n == 0:
		w.add(name, "")
	default:
		w.add(name, strconv.FormatInt(n, 10))
	}
}

func (w *writer) position(name, sub string, n kcl.ExtendedSequenceNumber) {
	w.check(name, n.Validate())
	w.add(name, n.SequenceNumber)
	w.add(sub, strconv.FormatInt(n.SubSequenceNumber, 10))
}

func (w *writer) set(name string, ids []string) {
	s, err := formatSet(ids)
	w.check(name, err)
	w.add(name, s)
}

func (w *writer) moment(name string, t time.Time) {
	s, err := formatTime(t)
	w.check(name, err)
	w.add(name, s)
}

// fields returns the fields of l that a set of attributes names, in a fixed
// order. An error says that l cannot stand in a table.
func fields(l leases.Lease, attrs leases.Attr) ([]field, error) {
	w := &writer{}
	if attrs.Has(leases.AttrCounter) {
		w.count(fieldCounter, l.Counter)
	}
	if attrs.Has(leases.AttrOwner) {
		w.add(fieldOwner, l.Owner)
	}
	if attrs.Has(leases.AttrCheckpointOwner) {
		w.add(fieldCheckpointOwner, l.CheckpointOwner)
	}
	if attrs.Has(leases.AttrOwnerSwitches) {
		w.count(fieldOwnerSwitches, l.OwnerSwitchesSinceCheckpoint)
	}
	if attrs.Has(leases.AttrCheckpoint) {
		w.position(fieldCheckpoint, fieldCheckpointSub, l.Checkpoint)
	}
	if attrs.Has(leases.AttrPending) {
		if l.Pending.IsZero() {
			w.add(fieldPending, "")
			w.add(fieldPendingSub, "")
			w.add(fieldPendingState, "")
		} else {
			w.position(fieldPending, fieldPendingSub, l.Pending)
			w.add(fieldPendingState, string(l.PendingState))
		}
	}
	if attrs.Has(leases.AttrParents) {
		w.set(fieldParents, l.Parents)
	}
	if attrs.Has(leases.AttrChildren) {
		w.set(fieldChildren, l.Children)
	}
	if attrs.Has(leases.AttrHashKeyRange) {
		if !l.HashKeyRange.IsZero() {
			w.check(fieldHashStart, l.HashKeyRange.Validate())
		}
		w.add(fieldHashStart, l.HashKeyRange.Start)
		w.add(fieldHashEnd, l.HashKeyRange.End)
	}
	if attrs.Has(leases.AttrThroughput) {
		s, err := formatThroughput(l.ThroughputKBps)
		w.check(fieldThroughput, err)
		w.add(fieldThroughput, s)
	}
	if attrs.Has(leases.AttrNativeOwner) {
		w.add(fieldNativeOwner, l.NativeOwner)
	}
	if attrs.Has(leases.AttrPinnedAt) {
		w.moment(fieldPinnedAt, l.PinnedAt)
	}
	if attrs.Has(leases.AttrStreamCreated) {
		w.moment(fieldStreamCreated, l.StreamCreated)
	}
	if attrs.Has(leases.AttrApplication) {
		w.add(fieldApplication, l.Application)
	}
	if attrs.Has(leases.AttrStreamARN) {
		w.add(fieldStreamARN, l.StreamARN)
	}
	if attrs.Has(leases.AttrOrigin) {
		_, err := leases.ParseOrigin(l.Origin.String())
		w.check(fieldOrigin, err)
		w.add(fieldOrigin, l.Origin.String())
	}
	if attrs.Has(leases.AttrPaused) {
		w.add(fieldPaused, l.Paused)
	}
	if attrs.Has(leases.AttrReset) {
		w.add(fieldReset, l.Reset)
	}
	if attrs.Has(leases.AttrReached) {
		w.moment(fieldReached, l.Reached)
	}
	if attrs.Has(leases.AttrHandoverTo) {
		w.add(fieldHandoverTo, l.HandoverTo)
	}
	if attrs.Has(leases.AttrAbilities) {
		w.bits(fieldAbilities, l.Abilities)
	}
	if err := errors.Join(w.problems...); err != nil {
		return nil, fmt.Errorf("lease %q cannot be written: %w", l.Key, err)
	}
	return w.fields, nil
}

// encode returns the fields of a new row, those that are absent left out.
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

// arguments is fields in the form in which scripts take them.
func arguments(fs []field) []any {
	args := make([]any, 0, 2*len(fs))
	for _, f := range fs {
		args = append(args, f.name, f.value)
	}
	return args
}

// formatSet puts a set of shard ids into its one form. Scripts compare texts,
// so equal sets must be equal texts.
func formatSet(ids []string) (string, error) {
	for _, id := range ids {
		if id == "" || strings.Contains(id, ",") {
			return "", fmt.Errorf("%q is no shard id", id)
		}
	}
	return strings.Join(slices.Sorted(slices.Values(ids)), ","), nil
}

// formatThroughput writes a number in its one form; "" when it is not known.
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

// formatTime writes a time in its one form; "" for the zero time.
func formatTime(t time.Time) (string, error) {
	if t.IsZero() {
		return "", nil
	}
	if t.Unix() < 0 || t.UTC().Year() > 9999 {
		return "", fmt.Errorf("%v is not between 1970 and 9999", t)
	}
	return t.UTC().Format(time.RFC3339Nano), nil
}
