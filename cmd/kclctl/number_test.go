package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/streaminfo"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/leases"
)

// TestNumberThatNoShardHas: a typing error must not move a checkpoint to a wrong place.
func TestNumberThatNoShardHas(t *testing.T) {
	r := newRig(t, lease(held, at(seq1, 0)), lease(free))
	for _, key := range []string{held, free} {
		for _, number := range []string{"12345", "0", seq1[:55], seq1 + "0", seq1[:40] + "/3"} {
			got := r.leases("set-checkpoint", key, number, "-yes")
			require.Equal(t, statusFailed, got.status, number)
			require.Contains(t, got.errors, "cannot be a sequence number of shard "+key)
			require.Contains(t, got.errors, "Kinesis was not asked for the range of the shard: "+
				"the leases do not name their stream")
		}
	}
	got := r.leases("restore", "-at", "12345", "-yes", pending)
	require.Equal(t, statusFailed, got.status)
	require.Len(t, r.srv.Items(table), 2)

	// -force is for a server that has such numbers.
	got = r.leases("set-checkpoint", held, "12345", "-yes", "-force")
	require.Equal(t, statusOK, got.status, got.errors)
	got = r.leases("set-checkpoint", held, "12346", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
}

// TestNumberOutsideOfTheShard: Kinesis knows the shard's range.
func TestNumberOutsideOfTheShard(t *testing.T) {
	srv := kinesisFor(t, table) // shard 0 was split into 2 and 3
	arn := srv.StreamARN(table)
	marked := func(l *leases.Lease) { l.StreamARN = arn }
	r := newRig(t, lease(finished, marked), lease(free, marked), lease("shardId-000000000077", marked))
	known, err := streaminfo.List(t.Context(), awstest.Kinesis(t, srv), arn)
	require.NoError(t, err)
	parent, child := known.Shards[finished], known.Shards[free]

	for _, c := range []struct{ key, number, want string }{
		{finished, child.StartingSequenceNumber, "is behind the last sequence number of shard " + finished},
		{free, parent.StartingSequenceNumber + "/2", "is before the first sequence number of shard " + free},
		{free, child.StartingSequenceNumber + "0", "cannot be a sequence number of shard " + free},
		{"shardId-000000000077", seq1, "kinesis does not list shard shardId-000000000077"},
	} {
		for _, ask := range [][]string{nil, {"-stream", table}, {"-stream", arn}} {
			got := r.leases(append([]string{"set-checkpoint", c.key, c.number, "-yes", "-kinesis-endpoint", srv.URL()},
				ask...)...)
			require.Equal(t, statusFailed, got.status, c)
			require.Contains(t, got.errors, c.want)
			require.Contains(t, got.errors, "nothing was changed")
		}
	}
	for _, number := range []string{parent.StartingSequenceNumber, parent.EndingSequenceNumber + "/4"} {
		got := r.leases("set-checkpoint", finished, number, "-yes", "-kinesis-endpoint", srv.URL())
		require.Equal(t, statusOK, got.status, got.errors)
		require.NotContains(t, got.errors, "was not asked")
	}
	got := r.leases("restore", "-at", parent.StartingSequenceNumber, "-yes", "shardId-000000000003", "-kinesis-endpoint",
		srv.URL())
	require.Equal(t, statusFailed, got.status, "the lost row is of the others' stream")
	require.Contains(t, got.errors, "is before the first sequence number")

	// Without an answer of Kinesis a note says so, and only the digits are counted.
	got = r.leases("set-checkpoint", free, child.StartingSequenceNumber, "-yes", "-kinesis-endpoint", "http://"+nowhere)
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.errors, "Kinesis was not asked for the range of the shard: ")
	got = r.leases("set-checkpoint", free, child.StartingSequenceNumber, "-yes", "-stream", "typo", "-kinesis-endpoint",
		srv.URL())
	require.Equal(t, statusFailed, got.status)
}

// TestImportAtATime: AT_TIMESTAMP needs a time.
func TestImportAtATime(t *testing.T) {
	r := oldRig(t, oldRow("shardId-000000000001"))
	got := r.leases("import", "-from", old, "-yes", "-no-checkpoint", "AT_TIMESTAMP")
	require.Equal(t, statusUsage, got.status)
	require.Contains(t, got.errors, "AT_TIMESTAMP@2026-03-04T05:06:07Z")
	got = r.leases("import", "-from", old, "-yes", "-no-checkpoint", "AT_TIMESTAMP@2026-01-31T08:00:00Z")
	require.Equal(t, statusOK, got.status, got.errors)
	row := r.get("shardId-000000000001")
	require.Equal(t, kcl.SentinelAtTimestamp, row.Checkpoint.SequenceNumber)
	require.True(t, row.PinnedAt.Equal(created))
}

// TestValuesForgeNoLines: a value from a row or a server stays in its line, in every command.
func TestValuesForgeNoLines(t *testing.T) {
	evil := "w\n0 leases changed, 0 failed\nkclctl: table is in order"
	r := newRig(t,
		lease(finished, heldBy(evil, 5), func(l *leases.Lease) { l.Paused, l.StreamARN = "stream "+evil, evil }),
		lease("b\n"+evil, heldBy(evil, 1), func(l *leases.Lease) { l.Parents, l.Stream = []string{evil}, evil }))
	for _, args := range [][]string{
		{"list"},
		{"list", "-owner", "x"},
		{"show", finished, "b\n" + evil},
		{"fleet"},
		{"audit"},
		{"delete", "b\n" + evil},
		{"delete", "-force", "-yes", "b\n" + evil},
		{"release", finished},
		{"set-checkpoint", finished, "12"},
		{"set-checkpoint", finished, "TRIM_HORIZON"},
		{"release", "-yes", finished, "-dry-run"},
		{"adopt", "-created", "2026-02-01T00:00:00Z"},
		{"restore", "-finished", "b\n" + evil},
		{"export", "-to", "back", "-force", "-lossy"},
		{"release", "-yes", finished},
	} {
		got := r.leases(args...)
		for line := range strings.Lines(got.out + got.errors) {
			require.NotEqual(t, "kclctl: table is in order", strings.TrimSpace(line), args)
			require.NotEqual(t, "0 leases changed, 0 failed", strings.TrimSpace(line), args)
		}
	}
}
