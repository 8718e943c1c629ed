package shardsync_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/fromsdk"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// FuzzListing gives the shard sync any list of shards: some without the parents that they name,
// some parents of themselves. A plan makes no row twice. It is complete, unless the list
// contradicts itself. Clean-up deletes no row of a worker that reads the shard.
func FuzzListing(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 2, 0, 0, 8, 3, 1, 2, 1}, []byte{}, uint8(0))
	f.Add([]byte{1, 0, 0, 4, 2, 1, 0, 5, 3, 1, 0, 6}, []byte{1, 130}, uint8(1))
	f.Add([]byte{1, 2, 0, 4, 2, 1, 0, 4, 2, 2, 2, 255}, []byte{2, 67, 9}, uint8(2))
	f.Fuzz(func(t *testing.T, list, table []byte, kind uint8) {
		if len(list) > 64 || len(table) > 16 {
			return
		}
		shards, rows := fuzzShards(list), fuzzRows(table)
		initial := kcl.InitialPosition{Kind: []kcl.PositionKind{kcl.TrimHorizon, kcl.Latest, kcl.AtTimestamp}[kind%3]}
		opt := shardsync.Options{Stream: kcl.StreamIdentifier{Name: "orders"}, PinnedAt: time.Unix(2000, 0)}
		if initial.Kind == kcl.AtTimestamp {
			initial.Timestamp = time.Unix(1000, 0)
		}
		made := shardsync.Plan(shards, rows, initial, opt)
		for i, l := range made {
			earlier := append(slices.Clone(rows), made[:i]...)
			if slices.ContainsFunc(earlier, func(o leases.Lease) bool { return o.Key == l.Key }) {
				t.Fatalf("the row of %s is made twice", l.Key)
			}
		}
		count := 0
		for _, g := range shardsync.Generations(made, shards) {
			count += len(g)
		}
		if count != len(made) {
			t.Fatalf("%d of %d rows are in a generation", count, len(made))
		}
		all := append(slices.Clone(rows), made...)
		if again := shardsync.Plan(shards, all, initial, opt); len(again) > 0 && consistent(shards) {
			t.Fatalf("a second plan makes %v", again)
		}
		shardsync.Audit(all, shards)
		s := shardsync.Survey{Shards: shards, Rows: all, Initial: initial, Options: opt}
		s.At, s.ListedAt = time.Unix(1, 0), time.Unix(1, 0)
		var past shardsync.CleanupHistory
		for range 4 {
			var removals []shardsync.Removal
			removals, past = shardsync.PlanCleanup(s, past)
			for _, r := range removals {
				if !r.Lease.Finished() && r.Lease.ActualOwner() != "" {
					t.Fatalf("the row of %s is deleted while a worker reads the shard", r.Lease.Key)
				}
			}
			s.At, s.ListedAt = s.At.Add(time.Hour), s.ListedAt.Add(time.Hour)
		}
	})
}

// consistent tells whether every parent is closed and listed before its children.
func consistent(shards []kcl.Shard) bool {
	for i, s := range shards {
		for _, p := range s.Parents() {
			at := slices.IndexFunc(shards, func(o kcl.Shard) bool { return o.ID == p })
			if at >= i || (at >= 0 && !shards[at].Closed()) {
				return false
			}
		}
	}
	return true
}

// fuzzName returns the id of a shard; nil for no shard.
func fuzzName(b byte) *string {
	if b %= 8; b == 0 {
		return nil
	}
	return aws.String("shardId-" + strconv.Itoa(int(b)))
}

// fuzzShards makes a shard of four bytes: its id, its parents, and the rest. As the scheduler does,
// it leaves out shards without an id, and repeated ones.
func fuzzShards(list []byte) (shards []kcl.Shard) {
	for ; len(list) >= 4; list = list[4:] {
		s := types.Shard{ShardId: fuzzName(list[0]), ParentShardId: fuzzName(list[1])}
		s.AdjacentParentShardId = fuzzName(list[2])
		bits := list[3]
		if bits&1 != 0 {
			s.HashKeyRange = &types.HashKeyRange{
				StartingHashKey: aws.String(strconv.Itoa(int(bits >> 4))),
				EndingHashKey:   aws.String(strconv.Itoa(int(bits >> 2))),
			}
		}
		if bits&2 != 0 {
			start := aws.String(strconv.Itoa(int(bits)))
			s.SequenceNumberRange = &types.SequenceNumberRange{StartingSequenceNumber: start}
			if bits&4 != 0 {
				s.SequenceNumberRange.EndingSequenceNumber = aws.String("9")
			}
		}
		shard := fromsdk.Shard(s)
		if shard.ID != "" && !slices.ContainsFunc(shards, func(o kcl.Shard) bool { return o.ID == shard.ID }) {
			shards = append(shards, shard)
		}
	}
	return shards
}

// fuzzRows makes a row of two bytes: its shard, and what it says.
func fuzzRows(table []byte) (rows []leases.Lease) {
	for ; len(table) >= 2; table = table[2:] {
		id := aws.ToString(fuzzName(table[0]))
		if id == "" || slices.ContainsFunc(rows, func(l leases.Lease) bool { return l.Key == id }) {
			continue
		}
		l := leases.Lease{Key: id, ShardID: id, ThroughputKBps: -1}
		l.Checkpoint.SequenceNumber = []string{
			kcl.SentinelTrimHorizon, kcl.SentinelLatest, "7", kcl.SentinelShardEnd,
		}[table[1]&3]
		if table[1]&4 != 0 {
			l.Owner = "w"
		}
		if p := fuzzName(table[1] >> 3); p != nil && table[1]&64 != 0 {
			l.Parents = []string{*p}
			l.Children = []string{aws.ToString(fuzzName(table[1]>>5 + 1))}
		}
		rows = append(rows, l)
	}
	return rows
}
