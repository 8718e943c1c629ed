// Package gokcl reads and writes the lease tables of vmware-go-kcl and its forks, in DynamoDB and
// in Redis. Both stores have the same fields: of an item, of a hash. kclctl imports such tables and
// exports to them. There is no KCL counterpart, because the table of the KCL is another one.
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

// The fields of a row. All of them are texts.
const (
	FieldShardID    = "ShardID"       // the key
	FieldOwner      = "AssignedTo"    // worker; absent or empty when nobody owns the lease
	FieldTimeout    = "LeaseTimeout"  // RFC 3339: when the lease expires; stays after a release
	FieldCheckpoint = "Checkpoint"    // sequence number or SHARD_END; absent or empty before the first checkpoint
	FieldParent     = "ParentShardId" // the parent, or the first of two; absent without one
	FieldClaim      = "ClaimRequest"  // worker that wants the shard
)

// Fields are the names of all fields.
var Fields = []string{FieldShardID, FieldOwner, FieldTimeout, FieldCheckpoint, FieldParent, FieldClaim}

// Row is one lease of such a table. It is a plain, comparable value.
type Row struct {
	ShardID string
	// Owner is the worker that owns the lease. It is empty when nobody does.
	Owner string
	// Claim is the worker that wants the lease. It is empty when nobody does.
	Claim string
	// Until is when the lease expires, by the owner's clock. It is zero when the row does not say.
	Until time.Time
	// Checkpoint is a sequence number, SHARD_END or empty.
	Checkpoint string
	// Parent is empty when there is none.
	Parent string
}

var shardID = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

// Decode reads a row. It ignores fields that it does not know. The error names every field that is
// wrong.
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
	if r.Checkpoint != "" && !isCheckpoint(r.Checkpoint) {
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

// isCheckpoint tells whether s can be a checkpoint. Sentinels other than SHARD_END are never
// written to such a table.
func isCheckpoint(s string) bool {
	n := kcl.ExtendedSequenceNumber{SequenceNumber: s}
	return n.Validate() == nil && (!n.IsSentinel() || n.IsShardEnd())
}

// quote returns the beginning of a foreign value in printable characters.
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

// Live tells whether a worker holds the lease at the time now, which is of that worker's clock.
func (r Row) Live(now time.Time) bool { return r.Owner != "" && r.Until.After(now) }

// Lease returns a free lease that goes on where r is. A row without a checkpoint gets the
// checkpoint start, which is the sentinel of the application's initial position.
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

// FromLease returns a free row that goes on where l is. The losses tell an operator, in words, what
// a row cannot hold. Without losses, [Row.Lease] gives back the checkpoint and the parents.
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
		losses = append(losses, "there is no checkpoint: the shard starts at the initial position of that application, "+
			"not at "+l.Checkpoint.String())
	}
	if sub := l.Checkpoint.SubSequenceNumber; sub > 0 {
		losses = append(losses, fmt.Sprintf("the checkpoint stands at user record %d of an aggregated record: "+
			"the user records after it are skipped", sub+1))
	}
	if !l.Pending.IsZero() {
		losses = append(losses, "the prepared checkpoint is not kept")
	}
	return r, losses
}
