package redis

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// reader reads the fields of a row, and collects their problems.
type reader struct {
	row      map[string]string
	problems []error
}

// wrong adds the problem that a field is not what it should be.
func (r *reader) wrong(name, want string) {
	found := "missing"
	if v, ok := r.row[name]; ok {
		found = quote(v)
	}
	r.problems = append(r.problems, fmt.Errorf("attribute %s is %s, want %s", name, found, want))
}

// quote returns the beginning of a value in printable characters.
func quote(s string) string {
	const most = 80
	cut := s
	if len(cut) > most {
		cut = cut[:most]
	}
	q := strconv.QuoteToASCII(cut)
	if len(q) > most {
		q = q[:most]
	}
	if len(s) > most || len(q) == most {
		q += "..."
	}
	return q
}

// integer reads a number from 0 to limit, in the form in which it is written.
func (r *reader) integer(name string, limit int64) int64 {
	n, err := strconv.ParseInt(r.row[name], 10, 64)
	if err != nil || n < 0 || n > limit || strconv.FormatInt(n, 10) != r.row[name] {
		r.wrong(name, fmt.Sprintf("a whole number from 0 to %d", limit))
		return 0
	}
	return n
}

func (r *reader) origin(name string) leases.Origin {
	var o leases.Origin
	if err := o.UnmarshalText([]byte(r.row[name])); err != nil {
		r.wrong(name, strings.TrimPrefix(err.Error(), "want "))
	}
	return o
}

// position reads a sequence number and its sub-sequence number. Both may be absent.
func (r *reader) position(a leases.Field) kcl.ExtendedSequenceNumber {
	const sentinels = "TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END"
	n := kcl.ExtendedSequenceNumber{SequenceNumber: r.row[a.Name]}
	if n.SequenceNumber == "" {
		if !a.Optional {
			r.wrong(a.Name, "a sequence number, or "+sentinels)
		}
		if r.row[a.Second] != "" {
			r.wrong(a.Second, "none without "+a.Name)
		}
		return kcl.ExtendedSequenceNumber{}
	}
	if n.Validate() != nil {
		r.wrong(a.Name, "decimal digits, or "+sentinels)
	}
	n.SubSequenceNumber = r.integer(a.Second, math.MaxInt64)
	return n
}

// state reads the state of a pending checkpoint, which has none when it is zero.
func (r *reader) state(a leases.Field, pending kcl.ExtendedSequenceNumber) []byte {
	s := r.row[a.State]
	switch {
	case s == "":
		return nil
	case pending.IsZero():
		r.wrong(a.State, "none without "+a.Name)
		return nil
	}
	return []byte(s)
}

// hashKeys reads a range of hash keys.
func (r *reader) hashKeys(a leases.Field) kcl.HashKeyRange {
	h := kcl.HashKeyRange{Start: r.row[a.Name], End: r.row[a.Second]}
	if !h.IsZero() && (len(h.Start)+len(h.End) > 100 || h.Validate() != nil) {
		r.wrong(a.Name, "with "+a.Second+" two decimal numbers in order between 0 and 2^128-1")
	}
	return h
}

func (r *reader) shardIDs(name string) []string {
	s := r.row[name]
	if s == "" {
		return nil
	}
	ids := strings.Split(s, ",")
	if again, err := formatSet(ids); err != nil || again != s {
		r.wrong(name, "shard ids in order, with commas between")
	}
	return ids
}

func (r *reader) throughput(name string) float64 {
	s := r.row[name]
	if s == "" {
		return -1
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if again, err := formatThroughput(f); err == nil && again == s {
			return f
		}
	}
	r.wrong(name, "a number that is not negative, in its shortest form")
	return -1
}

func (r *reader) moment(name string) time.Time {
	s := r.row[name]
	if s == "" {
		return time.Time{}
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		if again, err := formatTime(t); err == nil && again == s {
			return t.UTC()
		}
	}
	r.wrong(name, "a time from 1970 to 9999 like 2006-01-02T15:04:05.999Z")
	return time.Time{}
}

// attribute reads one attribute of a lease into value and state.
func (r *reader) attribute(a leases.Field, value any, state *[]byte) {
	switch v := value.(type) {
	case *string:
		*v = r.row[a.Name]
	case *int64:
		switch {
		case !a.Optional:
			*v = r.integer(a.Name, maxCounter)
		case r.row[a.Name] != "":
			*v = r.integer(a.Name, math.MaxInt64)
		}
	case *float64:
		*v = r.throughput(a.Name)
	case *time.Time:
		*v = r.moment(a.Name)
	case *[]string:
		*v = r.shardIDs(a.Name)
	case *leases.Origin:
		*v = r.origin(a.Name)
	case *kcl.ExtendedSequenceNumber:
		*v = r.position(a)
		if state != nil {
			*state = r.state(a, *v)
		}
	case *kcl.HashKeyRange:
		*v = r.hashKeys(a)
	default:
		panic("leases/redis: no rule for the type of " + a.Name)
	}
}

// decode reads the row of key. The error names every field that is wrong. The lease then holds the
// fields that could be read.
func decode(key string, row map[string]string) (leases.Lease, *leases.RowError) {
	r := &reader{row: row}
	l := leases.Lease{Key: key, Stream: row[fieldStream], ShardID: key}
	if row[fieldKey] != key || key == "" {
		r.wrong(fieldKey, "the end of the name of its key, "+quote(key))
	}
	if l.Stream != "" {
		l.ShardID = row[fieldShardID]
		if key != l.Stream+":"+l.ShardID {
			r.wrong(fieldShardID, fmt.Sprintf("the end of %s after %s", fieldKey, fieldStream))
		}
	}
	for set := leases.AttrAll; set != 0; set &^= set.First() {
		r.attribute(set.First().Field(&l))
	}
	if err := errors.Join(r.problems...); err != nil {
		return l, &leases.RowError{Key: key, Err: err}
	}
	return l, nil
}
