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
	for name, want := range map[string]leases.Marks{
		"single": {Application: "billing", StreamARN: "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders"},
		"multi": {
			Application: "billing", StreamARN: "arn:aws-cn:kinesis:cn-north-1",
			Stream: "123456789012:orders:1700000000",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opt := Options{Stream: id, Multi: name == "multi", Application: "billing"}
			require.Equal(t, want, leases.MarksOf("billing", id, opt.Multi))
			rows := Plan(shards, nil, kcl.InitialPosition{Kind: kcl.TrimHorizon}, opt)
			require.Len(t, rows, 2)
			rows = append(rows, ChildLease(rows[1], kcl.ChildShard{ID: "shardId-000000000002"}))
			for _, l := range rows {
				require.Equal(t, want, leases.Marks{Application: l.Application, Stream: l.Stream, StreamARN: l.StreamARN})
			}
		})
	}
}
