package shardsync

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

func markedStream(t *testing.T, arn string) kcl.StreamIdentifier {
	t.Helper()
	id, err := kcl.ParseStreamARN(arn)
	require.NoError(t, err)
	id.CreationEpoch = 1_700_000_000
	return id
}

// Every row that a plan makes is marked, and so are the children of those.
func TestPlannedLeasesAreMarked(t *testing.T) {
	t.Parallel()
	id := markedStream(t, "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders")
	shards := []kcl.Shard{{ID: "shardId-000000000000"}, {ID: "shardId-000000000001", ParentID: "shardId-000000000000"}}
	for name, want := range map[string]Marks{
		"single": {Application: "billing", StreamARN: "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders"},
		"multi": {
			Application: "billing", StreamARN: "arn:aws-cn:kinesis:cn-north-1",
			Stream: "123456789012:orders:1700000000",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opt := Options{Stream: id, Multi: name == "multi", Application: "billing"}
			require.Equal(t, want, MarksOf("billing", id, opt.Multi))
			rows := Plan(shards, nil, kcl.InitialPosition{Kind: kcl.TrimHorizon}, opt)
			require.Len(t, rows, 2)
			rows = append(rows, ChildLease(rows[1], kcl.ChildShard{ID: "shardId-000000000002"}))
			for _, l := range rows {
				require.Equal(t, want, Marks{Application: l.Application, Stream: l.Stream, StreamARN: l.StreamARN})
			}
		})
	}
}

func TestForeignMarks(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
	id := markedStream(t, arn)
	single, multi := MarksOf("billing", id, false), MarksOf("billing", id, true)
	bills := "123456789012:bills:1700000000"
	bill := "arn:aws:kinesis:us-east-1:123456789012:stream/bills"
	const east, west = "arn:aws:kinesis:us-east-1", "arn:aws:kinesis:eu-west-1"
	for name, c := range map[string]struct {
		marks Marks
		row   leases.Lease
		want  []string // parts of the error; none: the row is not foreign
	}{
		"no marks": {single, leases.Lease{}, nil},
		"own":      {single, leases.Lease{Extension: leases.Extension{Application: "billing", StreamARN: arn}}, nil},
		"application not known": {
			Marks{StreamARN: arn}, leases.Lease{Extension: leases.Extension{Application: "reports", StreamARN: arn}}, nil,
		},
		"stream not known": {
			Marks{Application: "billing"},
			leases.Lease{Extension: leases.Extension{Application: "billing", StreamARN: arn}},
			nil,
		},
		"another application": {
			single,
			leases.Lease{Extension: leases.Extension{Application: "reports", StreamARN: arn}},
			[]string{"application reports", "application billing", "-application billing", "Config.Table"},
		},
		"another stream": {
			single,
			leases.Lease{Extension: leases.Extension{StreamARN: bill}},
			[]string{"stream/bills", "reads " + arn, "-application billing -stream ARN"},
		},
		"own of several": {
			multi, leases.Lease{Stream: multi.Stream, Extension: leases.Extension{Application: "billing", StreamARN: east}}, nil,
		},
		"another region": {
			multi,
			leases.Lease{Stream: multi.Stream, Extension: leases.Extension{Application: "billing", StreamARN: west}},
			[]string{"eu-west-1", "us-east-1"},
		},
		"another stream's region": {
			multi, leases.Lease{Stream: bills, Extension: leases.Extension{Application: "billing", StreamARN: west}}, nil,
		},
		"another stream, application": {
			multi,
			leases.Lease{Stream: bills, Extension: leases.Extension{Application: "reports", StreamARN: west}},
			[]string{"reports"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.marks.Check(c.row)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, leases.ErrForeignTable)
			for _, part := range c.want {
				require.ErrorContains(t, err, part)
			}
		})
	}
}

// Complete only adds marks. A mark that the row has is kept.
func TestMarksComplete(t *testing.T) {
	t.Parallel()
	m := Marks{Application: "billing", StreamARN: "arn:aws:kinesis:us-east-1"}
	l, set := m.Complete(leases.Lease{Extension: leases.Extension{Application: "reports"}})
	require.Equal(t, leases.Lease{Extension: leases.Extension{Application: "reports", StreamARN: m.StreamARN}}, l)
	require.Equal(t, leases.AttrStreamARN, set)
	_, set = m.Complete(leases.Lease{Extension: leases.Extension{Application: "billing", StreamARN: m.StreamARN}})
	require.Zero(t, set)
	_, set = Marks{}.Complete(leases.Lease{})
	require.Zero(t, set)
}
