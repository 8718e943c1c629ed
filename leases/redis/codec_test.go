package redis

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

func goodRow() map[string]string {
	return map[string]string{
		fieldKey: "a", "leaseCounter": "1", "ownerSwitchesSinceCheckpoint": "0", "checkpoint": "LATEST",
		"checkpointSubSequenceNumber": "0",
	}
}

// TestL18PoisonedFields: the error of a damaged row names every damaged field, its value and what
// was expected.
func TestL18PoisonedFields(t *testing.T) {
	t.Parallel()
	_, bad := decode("a", goodRow())
	require.Nil(t, bad)
	const missing = "\x00missing"
	for name, tt := range map[string]struct{ field, value, want string }{
		"no key":             {fieldKey, missing, "attribute leaseKey is missing"},
		"key of another row": {fieldKey, "b", `attribute leaseKey is "b", want the end of the name of its key, "a"`},
		"no counter":         {"leaseCounter", missing, "attribute leaseCounter is missing, want a whole number"},
		"empty counter":      {"leaseCounter", "", `attribute leaseCounter is "", want a whole number`},
		"counter overflow": {
			"leaseCounter", "4611686018427387905", "want a whole number from 0 to 4611686018427387904",
		},
		"counter beyond 64 bits":  {"leaseCounter", "99999999999999999999", "want a whole number from 0 to"},
		"counter of another form": {"leaseCounter", "01", "want a whole number from 0 to"},
		"counter with a sign":     {"leaseCounter", "+1", "want a whole number from 0 to"},
		"counter is negative":     {"leaseCounter", "-1", "want a whole number from 0 to"},
		"no switches": {
			"ownerSwitchesSinceCheckpoint", missing, "attribute ownerSwitchesSinceCheckpoint is missing",
		},
		"no checkpoint":      {"checkpoint", missing, "attribute checkpoint is missing, want a sequence number"},
		"empty checkpoint":   {"checkpoint", "", `attribute checkpoint is "", want a sequence number`},
		"misspelt sentinel":  {"checkpoint", "SHARD_ENDS", `attribute checkpoint is "SHARD_ENDS", want decimal digits`},
		"control characters": {"checkpoint", "1\x1b[31m\n2", `attribute checkpoint is "1\x1b[31m\n2"`},
		"megabyte of text":   {"checkpoint", strings.Repeat("ö", 400_000), `..., want decimal digits`},
		"no sub": {
			"checkpointSubSequenceNumber", missing, "attribute checkpointSubSequenceNumber is missing",
		},
		"sub is a fraction":     {"checkpointSubSequenceNumber", "1.5", "attribute checkpointSubSequenceNumber"},
		"pending is junk":       {"pendingCheckpoint", "soon", `attribute pendingCheckpoint is "soon"`},
		"pending without sub":   {"pendingCheckpoint", "1", "attribute pendingCheckpointSubSequenceNumber is missing"},
		"sub without pending":   {"pendingCheckpointSubSequenceNumber", "1", "want none without pendingCheckpoint"},
		"state without pending": {"pendingCheckpointState", "s", "want none without pendingCheckpoint"},
		"parents out of order":  {"parentShardId", "b,a", "attribute parentShardId is \"b,a\", want shard ids in order"},
		"empty child":           {"childShardIds", "a,,b", "attribute childShardIds"},
		"half a hash range":     {"startingHashKey", "0", "attribute startingHashKey"},
		"hash range of words": {
			"endingHashKey", "ten", "attribute startingHashKey is missing, want with endingHashKey two decimal numbers",
		},
		"throughput is negative": {"throughputKBps", "-1", "attribute throughputKBps"},
		"throughput is NaN":      {"throughputKBps", "NaN", "attribute throughputKBps"},
		"throughput is infinite": {"throughputKBps", "+Inf", "attribute throughputKBps"},
		"throughput is hex":      {"throughputKBps", "0x1p-2", "attribute throughputKBps"},
		"pinned before 1970": {
			"goPinnedAt", "1969-12-31T23:59:59Z", `attribute goPinnedAt is "1969-12-31T23:59:59Z", want a time from 1970`,
		},
		"origin is junk": {
			"goOrigin", "AT_TIMESTAMP",
			`attribute goOrigin is "AT_TIMESTAMP", want TRIM_HORIZON, or LATEST or AT_TIMESTAMP with a time`,
		},
		"abilities are negative": {"goCan", "-1", "attribute goCan"},
		"pinned in seconds":      {"goPinnedAt", "1700000000", "attribute goPinnedAt"},
		"created in a zone":      {"goStreamCreated", "2023-11-14T22:13:20+01:00", "attribute goStreamCreated"},
		"stream without shard": {
			fieldStream, "123456789012:orders:1", "attribute shardId is missing, want the end of leaseKey",
		},
	} {
		row := goodRow()
		row[tt.field] = tt.value
		if tt.value == missing {
			delete(row, tt.field)
		}
		_, bad := decode("a", row)
		require.NotNil(t, bad, name)
		require.Equal(t, "a", bad.Key)
		require.ErrorContains(t, bad, tt.want, name)
		require.Less(t, len(bad.Error()), 400, name)
	}
	row := goodRow()
	delete(row, "leaseCounter")
	row["checkpoint"], row["goPinnedAt"] = "x", "y"
	_, bad = decode("a", row)
	for _, name := range []string{"leaseCounter", "checkpoint", "goPinnedAt"} {
		require.ErrorContains(t, bad, "attribute "+name+" is", "all at once")
	}
}

func TestNeverWriteWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	good := leases.Lease{
		Key: "a", ShardID: "a", Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: "LATEST"}, ThroughputKBps: -1,
	}
	_, err := encode(good)
	require.NoError(t, err)
	for want, change := range map[string]func(*leases.Lease){
		"without a key":           func(l *leases.Lease) { l.Key = "" },
		"checkpoint: ":            func(l *leases.Lease) { l.Checkpoint = kcl.ExtendedSequenceNumber{} },
		"leaseCounter: -1":        func(l *leases.Lease) { l.Counter = -1 },
		"ownerSwitches":           func(l *leases.Lease) { l.OwnerSwitchesSinceCheckpoint = maxCounter + 1 },
		"pendingCheckpoint: ":     func(l *leases.Lease) { l.Pending.SequenceNumber = "soon" },
		"parentShardId: \"\"":     func(l *leases.Lease) { l.Parents = []string{""} },
		"childShardIds: \"a,b\"":  func(l *leases.Lease) { l.Children = []string{"a,b"} },
		"startingHashKey: ":       func(l *leases.Lease) { l.HashKeyRange.Start = "1" },
		"goPinnedAt: 1969-12-31 ": func(l *leases.Lease) { l.PinnedAt = time.Unix(-1, 0).UTC() },
		"goStreamCreated: 10000":  func(l *leases.Lease) { l.StreamCreated = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"throughputKBps: NaN":     func(l *leases.Lease) { l.ThroughputKBps = math.NaN() },
		"throughputKBps: +Inf":    func(l *leases.Lease) { l.ThroughputKBps = math.Inf(1) },
	} {
		l := good
		change(&l)
		_, err := encode(l)
		require.ErrorContains(t, err, want)
	}
}

func rowOf(fs []field) map[string]string {
	row := map[string]string{}
	for _, f := range fs {
		row[f.name] = f.value
	}
	return row
}

// FuzzDecode: any fields are a lease or a RowError, and never a panic. A lease that was decoded is
// encoded as the same texts, so that conditions hold.
func FuzzDecode(f *testing.F) {
	full := leases.Lease{
		Key: "1:s:2:a", Stream: "1:s:2", ShardID: "a", Owner: "b", CheckpointOwner: "a", Counter: 9,
		OwnerSwitchesSinceCheckpoint: 1,
		Checkpoint:                   kcl.ExtendedSequenceNumber{SequenceNumber: "12", SubSequenceNumber: 3},
		Pending:                      kcl.ExtendedSequenceNumber{SequenceNumber: "SHARD_END"},
		PendingState:                 []byte{0, 255}, Parents: []string{"p", "q"}, Children: []string{"c"},
		HashKeyRange: kcl.HashKeyRange{Start: "1", End: "2"}, ThroughputKBps: 1e21,
		Extension: leases.Extension{
			NativeOwner: "ö", PinnedAt: time.Unix(1700000000, 5e8), StreamCreated: time.Unix(1600000000, 1),
		},
	}
	rows := []map[string]string{goodRow(), {fieldKey: "a"}, {}}
	fs, err := encode(full)
	require.NoError(f, err)
	rows = append(rows, rowOf(fs))
	for _, row := range rows {
		f.Add(row[fieldKey], row[fieldStream], row[fieldShardID], row["leaseOwner"], row["leaseCounter"],
			row["checkpoint"], row["checkpointSubSequenceNumber"],
			row["pendingCheckpoint"], row["pendingCheckpointSubSequenceNumber"], row["pendingCheckpointState"],
			row["parentShardId"], row["startingHashKey"], row["endingHashKey"], row["throughputKBps"], row["goPinnedAt"])
	}
	f.Fuzz(func(t *testing.T, key, stream, shard, owner, counter, checkpoint, sub, pending, pendingSub, state, parents,
		start, end, throughput, pinned string,
	) {
		row := map[string]string{
			fieldKey: key, fieldStream: stream, fieldShardID: shard, "leaseOwner": owner, "leaseCounter": counter,
			"ownerSwitchesSinceCheckpoint": counter,
			"checkpoint":                   checkpoint, "checkpointSubSequenceNumber": sub, "pendingCheckpoint": pending,
			"pendingCheckpointSubSequenceNumber": pendingSub, "pendingCheckpointState": state,
			"parentShardId": parents, "childShardIds": parents, "startingHashKey": start, "endingHashKey": end,
			"throughputKBps": throughput, "goPinnedAt": pinned, "goStreamCreated": pinned,
		}
		for name, v := range row {
			if v == "" {
				delete(row, name)
			}
		}
		l, bad := decode(key, row)
		if bad != nil {
			for _, r := range bad.Error() {
				require.True(t, r == '\n' || strconv.IsPrint(r), "%q", bad.Error())
			}
			return
		}
		again, err := encode(l)
		require.NoError(t, err)
		if stream == "" {
			delete(row, fieldShardID) // redundant where there is one stream
		}
		require.Equal(t, row, rowOf(again))
	})
}
