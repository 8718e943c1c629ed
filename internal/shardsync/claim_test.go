package shardsync

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

func TestPlanClaim(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
	id := markedStream(t, arn)
	single, multi := MarksOf("billing", id, false), MarksOf("billing", id, true)
	bills := "123456789012:bills:1700000000"
	marked := func(l leases.Lease) leases.Lease { l, _ = single.Complete(l); l.Counter = 1; return l }

	c := PlanClaim(nil, single)
	require.Equal(t, Claim{Vacant: true}, c)
	require.False(t, c.Done())
	require.True(t, PlanClaim([]leases.Lease{marked(leases.Lease{Key: "b"}), {Key: "a"}}, single).Done(),
		"one mark is enough")

	// Nobody has read or taken the only row: its maker may take it back.
	c = PlanClaim([]leases.Lease{{Key: "a", Extension: leases.Extension{Application: "billing", StreamARN: arn}}}, single)
	require.False(t, c.Done())
	require.Equal(t, int64(1), ConfirmAnchor(*c.Anchor).To.Counter)
	for name, l := range map[string]leases.Lease{
		"counter": {Counter: 1}, "owner": {Owner: "w"}, "read": {Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: "1"}},
	} {
		l.Key, l.Application, l.StreamARN = "a", "billing", arn
		require.True(t, PlanClaim([]leases.Lease{l}, single).Done(), name)
	}

	// Rows from before: the least key of the table, and the least of the stream.
	rows := []leases.Lease{{Key: "c", Stream: multi.Stream}, {Key: "b", Stream: multi.Stream}, {Key: "a", Stream: bills}}
	c = PlanClaim(rows, multi)
	require.True(t, c.Unproven)
	require.Len(t, c.Adopt, 2)
	require.Equal(t, leases.Update{
		Read: rows[2], Expect: leases.AttrApplication,
		To:  leases.Lease{Key: "a", Stream: bills, Extension: leases.Extension{Application: "billing"}},
		Set: leases.AttrApplication,
	}, c.Adopt[0])
	require.Equal(t, "b", c.Adopt[1].Read.Key)
	require.Equal(t, leases.AttrStreamARN, c.Adopt[1].Set)

	// A new stream in a table from before.
	c = PlanClaim(rows[2:], multi)
	require.True(t, c.Vacant)
	require.False(t, c.Unproven)
	require.Len(t, c.Adopt, 1)
}

func TestFits(t *testing.T) {
	t.Parallel()
	low, high := kcl.HashKeyRange{Start: "0", End: "99"}, kcl.HashKeyRange{Start: "100", End: "199"}
	shards := []kcl.Shard{
		{ID: "a", HashKeyRange: low, StartingSequenceNumber: "1000", EndingSequenceNumber: "2000"},
		{ID: "b", HashKeyRange: high, StartingSequenceNumber: "1000"},
		{ID: "c", HashKeyRange: low, ParentID: "a", AdjacentParentID: "z", StartingSequenceNumber: "3000"},
	}
	at := func(number string) kcl.ExtendedSequenceNumber {
		return kcl.ExtendedSequenceNumber{SequenceNumber: number, SubSequenceNumber: 7}
	}
	finished := at(kcl.SentinelShardEnd)
	for name, c := range map[string]struct {
		rows []leases.Lease
		want bool
	}{
		"nothing known":      {[]leases.Lease{{ShardID: "a"}}, true},
		"hash keys":          {[]leases.Lease{{ShardID: "a", HashKeyRange: low}}, true},
		"other hash keys":    {[]leases.Lease{{ShardID: "a", HashKeyRange: high}}, false},
		"one of two fits":    {[]leases.Lease{{ShardID: "a", HashKeyRange: high}, {ShardID: "b", HashKeyRange: high}}, true},
		"one of two parents": {[]leases.Lease{{ShardID: "c", Parents: []string{"z"}}}, true},
		"other parents":      {[]leases.Lease{{ShardID: "c", Parents: []string{"b"}}}, false},
		"number":             {[]leases.Lease{{ShardID: "b", Checkpoint: at("1000")}}, true},
		"number before":      {[]leases.Lease{{ShardID: "b", Checkpoint: at("999")}}, false},
		"number behind":      {[]leases.Lease{{ShardID: "a", Checkpoint: at("2001")}}, false},
		"trimmed":            {[]leases.Lease{{ShardID: "x", Checkpoint: at("5")}}, true},
		"finished":           {[]leases.Lease{{ShardID: "a", HashKeyRange: high, Checkpoint: finished}}, true},
		"finished and not": {[]leases.Lease{
			{ShardID: "a", HashKeyRange: high, Checkpoint: finished},
			{ShardID: "b", HashKeyRange: low},
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, ClaimFits(c.rows, shards))
		})
	}
}
