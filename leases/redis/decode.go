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

// reader takes fields out of a row and collects what is wrong with them.
type reader struct {
	row      map[string]string
	problems []error
}

func (r *reader) wrong(name, want string) {
	found := "missing"
	if v, ok := r.row[name]; ok {
		found = quote(v)
	}
	r.problems = append(r.problems, fmt.Errorf("attribute %s is %s, want %s", name, found, want))
}

// quote shows the beginning of a value in printable characters.
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

// integer reads a number from 0 to limit in the form that is written.
func (r *reader) integer(name string, limit int64) int64 {
	n, err := strconv.ParseInt(r.row[name], 10, 64)
	if err != nil || n < 0 || n > limit || strconv.FormatInt(n, 10) != r.row[name] {
		r.wrong(name, fmt.Sprintf("a whole number from 0 to %d", limit))
		return 0
	}
	return n
}

// bits reads a set of bits; none is absent.
func (r *reader) bits(name string) int64 {
	if r.row[name] == "" {
		return 0
	}
	return r.integer(name, math.MaxInt64)
}

func (r *reader) origin(name string) leases.Origin {
	o, err := leases.ParseOrigin(r.row[name])
	if err != nil {
		r.wrong(name, strings.TrimPrefix(err.Error(), "want "))
	}
	return o
}

// position reads a sequence number and its sub-sequence number; both may be
// absent.
func (r *reader) position(name, sub string) kcl.ExtendedSequenceNumber {
	n := kcl.ExtendedSequenceNumber{SequenceNumber: r.row[name]}
	if n.SequenceNumber == "" {
		if r.row[sub] != "" {
			r.wrong(sub, "none without "+name)
		}
		return kcl.ExtendedSequenceNumber{}
	}
	if n.Validate() != nil {
		r.wrong(name, "decimal digits, or TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END")
	}
	n.SubSequenceNumber = r.integer(sub, math.MaxInt64)
	return n
}

func (r *reader) set(name string) []string {
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

// decode reads the row of key. The error says every field that is wrong, and
// the lease holds what could be read nevertheless.
func decode(key string, row map[string]string) (leases.Lease, *leases.RowError) {
	r := &reader{row: row}
	if row[fieldKey] != key || key == "" {
		r.wrong(fieldKey, "the end of the name of its key, "+quote(key))
	}
	if row[fieldCheckpoint] == "" {
		r.wrong(fieldCheckpoint, "a sequence number, or TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END")
	}
	l := leases.Lease{
		Key:                          key,
		Stream:                       row[fieldStream],
		ShardID:                      key,
		Owner:                        row[fieldOwner],
		CheckpointOwner:              row[fieldCheckpointOwner],
		Counter:                      r.integer(fieldCounter, maxCounter),
		OwnerSwitchesSinceCheckpoint: r.integer(fieldOwnerSwitches, maxCounter),
		Checkpoint:                   r.position(fieldCheckpoint, fieldCheckpointSub),
		Pending:                      r.position(fieldPending, fieldPendingSub),
		Parents:                      r.set(fieldParents),
		Children:                     r.set(fieldChildren),
		HashKeyRange:                 kcl.HashKeyRange{Start: row[fieldHashStart], End: row[fieldHashEnd]},
		ThroughputKBps:               r.throughput(fieldThroughput),
		NativeOwner:                  row[fieldNativeOwner],
		PinnedAt:                     r.moment(fieldPinnedAt),
		StreamCreated:                r.moment(fieldStreamCreated),
		Application:                  row[fieldApplication],
		StreamARN:                    row[fieldStreamARN],
		Origin:                       r.origin(fieldOrigin),
		Paused:                       row[fieldPaused],
		Reset:                        row[fieldReset],
		Reached:                      r.moment(fieldReached),
		Abilities:                    r.bits(fieldAbilities),
		HandoverTo:                   row[fieldHandoverTo],
	}
	if state := row[fieldPendingState]; state != "" {
		if l.Pending.IsZero() {
			r.wrong(fieldPendingState, "none without "+fieldPending)
		} else {
			l.PendingState = []byte(state)
		}
	}
	if l.Stream != "" {
		l.ShardID = row[fieldShardID]
		if key != l.Stream+":"+l.ShardID {
			r.wrong(fieldShardID, fmt.Sprintf("the end of %s after %s", fieldKey, fieldStream))
		}
	}
	if h := l.HashKeyRange; !h.IsZero() && (len(h.Start)+len(h.End) > 100 || h.Validate() != nil) {
		r.wrong(fieldHashStart, "with "+fieldHashEnd+" two decimal numbers in order between 0 and 2^128-1")
	}
	if err := errors.Join(r.problems...); err != nil {
		return l, &leases.RowError{Key: key, Err: err}
	}
	return l, nil
}
