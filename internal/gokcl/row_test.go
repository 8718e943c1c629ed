package gokcl_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/gokcl"
	"github.com/kinesis-go/kcl/leases"
)

const sequence = "49590338271490256608559692538361571095921575989136588898"

var until = time.Date(2026, 1, 31, 8, 0, 0, 123456789, time.UTC)

func TestDecode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fields map[string]string
		want   gokcl.Row
	}{
		"held": {
			map[string]string{
				"ShardID": "shardId-000000000001", "AssignedTo": "w", "LeaseTimeout": "2026-01-31T08:00:00.123456789Z",
				"Checkpoint": sequence, "ParentShardId": "shardId-000000000000", "ClaimRequest": "v",
			},
			gokcl.Row{
				ShardID: "shardId-000000000001", Owner: "w", Until: until, Checkpoint: sequence,
				Parent: "shardId-000000000000", Claim: "v",
			},
		},
		"fresh": {
			map[string]string{
				"ShardID": "s", "AssignedTo": "w", "LeaseTimeout": "2026-01-31T09:00:00.123456789+01:00", "Checkpoint": "",
			},
			gokcl.Row{ShardID: "s", Owner: "w", Until: until},
		},
		"released": {
			map[string]string{"ShardID": "s", "LeaseTimeout": "2026-01-31T08:00:00.123456789Z", "Checkpoint": "SHARD_END"},
			gokcl.Row{ShardID: "s", Until: until, Checkpoint: "SHARD_END"},
		},
		"emptied": {
			map[string]string{"ShardID": "s", "AssignedTo": "", "LeaseTimeout": "soon"},
			gokcl.Row{ShardID: "s"},
		},
		"made by hand": {
			map[string]string{"ShardID": "s", "AssignedTo": "w", "Checkpoint": "1", "Other": "ignored"},
			gokcl.Row{ShardID: "s", Owner: "w", Checkpoint: "1"},
		},
		"nothing but an id": {map[string]string{"ShardID": "s"}, gokcl.Row{ShardID: "s"}},
		"number zero":       {map[string]string{"ShardID": "s", "Checkpoint": "0"}, gokcl.Row{ShardID: "s", Checkpoint: "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, bad := gokcl.Decode(c.fields)
			require.Nil(t, bad)
			require.Equal(t, c.want, got)
			again, bad := gokcl.Decode(got.Encode())
			require.Nil(t, bad)
			require.Equal(t, got, again)
		})
	}
}

func TestDecodeOfDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fields map[string]string
		want   string
	}{
		"no id":            {map[string]string{}, "ShardID is missing"},
		"key of a stream":  {map[string]string{"ShardID": "1:a:2:s"}, `ShardID is "1:a:2:s"`},
		"typo":             {map[string]string{"ShardID": "s", "Checkpoint": "SHARD_END "}, `Checkpoint is "SHARD_END "`},
		"another sentinel": {map[string]string{"ShardID": "s", "Checkpoint": "LATEST"}, `Checkpoint is "LATEST"`},
		"no time": {
			map[string]string{"ShardID": "s", "AssignedTo": "w", "LeaseTimeout": "soon"}, `LeaseTimeout is "soon"`,
		},
		"hostile": {
			map[string]string{"ShardID": "s", "ParentShardId": "\x1b[2J" + strings.Repeat("x", 1000)},
			`ParentShardId is "\x1b[2Jx`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, bad := gokcl.Decode(c.fields)
			require.NotNil(t, bad)
			require.ErrorContains(t, bad, c.want)
			require.Less(t, len(bad.Error()), 300)
			require.Equal(t, c.fields["ShardID"], bad.Key)
		})
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	r := gokcl.Row{ShardID: "s", Owner: "w", Until: until}
	require.True(t, r.Live(until.Add(-time.Second)))
	require.False(t, r.Live(until))
	r.Owner = ""
	require.False(t, r.Live(until.Add(-time.Second)))
	require.False(t, gokcl.Row{ShardID: "s", Owner: "w"}.Live(until), "a row without a timeout counts as free there")
}

func TestLeaseOfARow(t *testing.T) {
	t.Parallel()
	horizon := kcl.InitialPosition{}.Sentinel()
	want := leases.Lease{
		Key: "b", ShardID: "b", ThroughputKBps: -1, Parents: []string{"a"},
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: sequence},
	}
	held := gokcl.Row{ShardID: "b", Parent: "a", Owner: "w", Until: until, Checkpoint: sequence}
	require.Equal(t, want, held.Lease(horizon))
	require.Equal(t, horizon, gokcl.Row{ShardID: "b"}.Lease(horizon).Checkpoint)

	r, losses := gokcl.FromLease(want)
	require.Empty(t, losses)
	require.Equal(t, gokcl.Row{ShardID: "b", Parent: "a", Checkpoint: sequence}, r)

	want.Parents = []string{"z", "a"}
	want.Checkpoint.SubSequenceNumber, want.Pending = 2, want.Checkpoint
	r, losses = gokcl.FromLease(want)
	require.Equal(t, gokcl.Row{ShardID: "b", Parent: "a", Checkpoint: sequence}, r)
	require.Len(t, losses, 3)

	want = leases.Lease{Key: "b", ShardID: "b", Checkpoint: horizon}
	r, losses = gokcl.FromLease(want)
	require.Equal(t, gokcl.Row{ShardID: "b"}, r)
	require.Len(t, losses, 1)
}

// FuzzDecode: a row that was read is written and read back as the same row. The lease made of it
// can stand in a lease table.
func FuzzDecode(f *testing.F) {
	f.Add("shardId-000000000001", "w", "2026-01-31T08:00:00.123456789Z", sequence, "shardId-000000000000", "v")
	f.Add("s", "", "soon", "SHARD_END", "", "")
	f.Add("s", "w", "0001-01-01T00:00:00Z", "0", "s", "")
	f.Add("\x00:", "w", "9999-12-31T23:59:59.999999999+24:00", "-1", ":", "\xff")
	f.Fuzz(func(t *testing.T, id, owner, timeout, checkpoint, parent, claim string) {
		fields := map[string]string{
			gokcl.FieldShardID: id, gokcl.FieldOwner: owner, gokcl.FieldTimeout: timeout,
			gokcl.FieldCheckpoint: checkpoint, gokcl.FieldParent: parent, gokcl.FieldClaim: claim,
		}
		r, bad := gokcl.Decode(fields)
		if bad != nil {
			require.Equal(t, id, bad.Key)
			return
		}
		encoded := r.Encode()
		for name := range encoded {
			require.True(t, slices.Contains(gokcl.Fields, name))
		}
		again, bad := gokcl.Decode(maps.Clone(encoded))
		require.Nil(t, bad)
		require.Equal(t, r, again)

		l := r.Lease(kcl.InitialPosition{}.Sentinel())
		require.NoError(t, l.Checkpoint.Validate())
		require.NotContains(t, l.Key, ":")
		back, losses := gokcl.FromLease(l)
		require.Equal(t, checkpoint == "", len(losses) > 0)
		require.Equal(t, gokcl.Row{ShardID: r.ShardID, Checkpoint: r.Checkpoint, Parent: r.Parent}, back)
	})
}
