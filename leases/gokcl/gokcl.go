// Package gokcl is the layout in which vmware-go-kcl and its forks keep leases:
// the same fields in a DynamoDB item and in a Redis hash. It has no connection
// to either; leases/dynamodb and leases/redis read and write such tables, and
// kclctl imports and exports them. It has no counterpart in the KCL, whose
// table is another one.
package gokcl

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// The fields of a row, all of them texts.
const (
	FieldShardID    = "ShardID"       // the key
	FieldOwner      = "AssignedTo"    // worker; absent or empty when nobody owns it
	FieldTimeout    = "LeaseTimeout"  // RFC 3339: when the lease expires; stays after a release
	FieldCheckpoint = "Checkpoint"    // sequence number or SHARD_END; absent or empty before the first checkpoint
	FieldParent     = "ParentShardId" // the parent, or the first of two; absent without one
	FieldClaim      = "ClaimRequest"  // worker that wants the shard
)

// Fields are all of them.
var Fields = []string{FieldShardID, FieldOwner, FieldTimeout, FieldCheckpoint, FieldParent, FieldClaim}

// Row is one lease of such a table. It is a plain, comparable value.
type Row struct {
	ShardID string
	// Owner is empty when nobody owns the lease, and Claim when nobody wants it.
	Owner string
	Claim string
	// Until is when the lease expires, by the owner's clock; zero when the row
	// does not say.
	Until time.Time
	// Checkpoint is a sequence number, SHARD_END or empty.
	Checkpoint string
	// Parent is empty when there is none.
	Parent string
}

var shardID = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

// Decode reads a row. Fields that it does not know are ignored. The error is
// about this row only and says everything that is wrong with it.
func Decode(fields map[string]string) (Row, *leases.RowError) {
	r := Row{
		ShardID: fields[FieldShardID], Owner: fields[FieldOwner], Claim: fields[FieldClaim],
		Checkpoint: fields[FieldCheckpoint], Parent: fields[FieldParent],
	}
	var problems []error
	wrong := func(name, want string) {
		problems = append(problems, fmt.Errorf("%s is %s, want %s", name, quote(fields[name]), want))
	}
	if !shardID.MatchString(r.ShardID) {
		wrong(FieldShardID, "the id of a shard")
	}
	if r.Parent != "" && !shardID.MatchString(r.Parent) {
		wrong(FieldParent, "the id of a shard, or nothing")
	}
	// Sentinels other than SHARD_END are never written there.
	if n := (kcl.ExtendedSequenceNumber{SequenceNumber: r.Checkpoint}); r.Checkpoint != "" && (n.Validate() != nil || n.IsSentinel() && !n.IsShardEnd()) {
		wrong(FieldCheckpoint, "decimal digits, SHARD_END, or nothing")
	}
	if s := fields[FieldTimeout]; s != "" {
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil && r.Owner != "" {
			wrong(FieldTimeout, "a time such as 2026-01-31T08:00:00Z")
		}
		if err == nil {
			r.Until = t.UTC()
		}
	}
	if err := errors.Join(problems...); err != nil {
		return r, &leases.RowError{Key: r.ShardID, Err: err}
	}
	return r, nil
}

// quote says the beginning of a foreign value in printable characters.
func quote(s string) string {
	if s == "" {
		return "missing"
	}
	q := fmt.Sprintf("%q", s)
	if len(q) > 80 {
		q = q[:80] + "..."
	}
	return q
}

// Encode returns the fields of r that are not empty. [Decode] reads them back.
func (r Row) Encode() map[string]string {
	fields := map[string]string{FieldShardID: r.ShardID}
	for name, value := range map[string]string{
		FieldOwner: r.Owner, FieldClaim: r.Claim, FieldCheckpoint: r.Checkpoint, FieldParent: r.Parent,
	} {
		if value != "" {
			fields[name] = value
		}
	}
	if !r.Until.IsZero() {
		fields[FieldTimeout] = r.Until.UTC().Format(time.RFC3339Nano)
	}
	return fields
}

// Live tells whether a worker holds the lease at that time, by its own clock.
func (r Row) Live(now time.Time) bool { return r.Owner != "" && r.Until.After(now) }

// Lease returns a free lease that goes on where r is. start is the checkpoint
// of rows that have none: the sentinel of the application's initial position.
func (r Row) Lease(start kcl.ExtendedSequenceNumber) leases.Lease {
	l := leases.Lease{Key: r.ShardID, ShardID: r.ShardID, Checkpoint: start, ThroughputKBps: -1}
	if r.Checkpoint != "" {
		l.Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: r.Checkpoint}
	}
	if r.Parent != "" {
		l.Parents = []string{r.Parent}
	}
	return l
}

// FromLease returns a free row that goes on where l is. The losses say what
// this layout cannot hold, in words for an operator; nil means that [Row.Lease]
// gives back checkpoint and parents.
func FromLease(l leases.Lease) (r Row, losses []string) {
	r = Row{ShardID: l.ShardID}
	parents := slices.Sorted(slices.Values(l.Parents))
	if len(parents) > 0 {
		r.Parent = parents[0]
	}
	if len(parents) > 1 {
		losses = append(losses, "only the first parent is kept, of "+strings.Join(parents, " and "))
	}
	if l.Checkpoint.IsShardEnd() || !l.Checkpoint.IsSentinel() {
		r.Checkpoint = l.Checkpoint.SequenceNumber
	} else {
		losses = append(losses, "there is no checkpoint: the shard starts at the initial position of that application, not at "+l.Checkpoint.String())
	}
	if l.Checkpoint.SubSequenceNumber > 0 {
		losses = append(losses, fmt.Sprintf("the checkpoint stands at user record %d of an aggregated record: the user records after it are skipped", l.Checkpoint.SubSequenceNumber+1))
	}
	if !l.Pending.IsZero() {
		losses = append(losses, "the prepared checkpoint is not kept")
	}
	return r, losses
}
