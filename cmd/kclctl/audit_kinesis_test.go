package main

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/audit"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/leases"
)

// TestAuditAsksKinesis has the findings that only Kinesis can show.
func TestAuditAsksKinesis(t *testing.T) {
	srv := kinesisFor(t, table) // shard 0 was split into 2 and 3
	arn := srv.StreamARN(table)
	out, err := awstest.Kinesis(t, srv).DescribeStreamSummary(t.Context(),
		&kinesis.DescribeStreamSummaryInput{StreamARN: &arn})
	require.NoError(t, err)
	since := out.StreamDescriptionSummary.StreamCreationTimestamp.UTC()
	marked := func(l *leases.Lease) { l.StreamARN, l.StreamCreated = arn, since }
	quarter, next4 := "85070591730234615865843651857942052863", "85070591730234615865843651857942052864"
	whole := func() []leases.Lease {
		return []leases.Lease{
			lease(parent, marked, covers("0", half), at(kcl.SentinelShardEnd, 0)), lease(left, marked, covers(next, last)),
			lease(right, marked, covers("0", quarter), childOf),
			lease("shardId-000000000003", marked, covers(next4, half), childOf),
		}
	}
	for name, c := range map[string]struct {
		change func([]leases.Lease) []leases.Lease
		want   []string
	}{
		"in order": {func(l []leases.Lease) []leases.Lease { return l }, nil},
		"re-created": {func(l []leases.Lease) []leases.Lease {
			l[0].StreamCreated = since.Add(-time.Hour)
			return l[:1]
		}, []string{"re-created"}},
		"stream gone": {func(l []leases.Lease) []leases.Lease {
			l[0].StreamARN += "-2"
			return l[:1]
		}, []string{"stream-gone"}},
		"other stream": {func(l []leases.Lease) []leases.Lease {
			return []leases.Lease{lease("shardId-000000000070", marked, covers("0", last))}
		}, []string{"other-stream"}},
		"trimmed": {func(l []leases.Lease) []leases.Lease {
			return append(l, lease("shardId-000000000070", marked))
		}, []string{"not-listed"}},
		"finished, and open": {func(l []leases.Lease) []leases.Lease {
			l[1].Checkpoint.SequenceNumber = kcl.SentinelShardEnd
			return l
		}, []string{"not-ended"}},
		"of another shard": {func(l []leases.Lease) []leases.Lease {
			l[1].Checkpoint.SequenceNumber = seq1
			return l
		}, []string{"out-of-range"}},
		"a shard is missing": {
			func(l []leases.Lease) []leases.Lease { return append(l[:1:1], l[2:]...) },
			[]string{"missing-lease"},
		},
		"children to come": {func(l []leases.Lease) []leases.Lease {
			l[0].Checkpoint.SequenceNumber = "TRIM_HORIZON"
			return l[:2]
		}, nil},
		"parent is missing": {
			func(l []leases.Lease) []leases.Lease { return l[1:] },
			[]string{"missing-parent", "missing-parent"},
		},
		"parent not wanted": {func(l []leases.Lease) []leases.Lease {
			l[2].Checkpoint.SequenceNumber, l[3].Checkpoint.SequenceNumber = "LATEST", "LATEST"
			return l[1:]
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			rows := c.change(whole())
			r := newRig(t, rows...)
			got := r.leases("audit", "-kinesis-endpoint", srv.URL())
			require.Contains(t, got.out, " with Kinesis: ", got.errors)
			answers, err := (&source{region: "us-east-1", kinesisEndpoint: srv.URL()}).askAll(t.Context(), rows, "")
			require.NoError(t, err)
			findings, _ := audit.Judge(leases.Listing{Leases: rows}, answers)
			var named []string
			for _, f := range findings {
				if f.Kind != "hole" { // the table alone shows it
					named = append(named, f.Kind)
				}
			}
			require.Equal(t, c.want, named, got.out)
			require.Equal(t, len(findings) > 0, got.status == statusFailed)
		})
	}
}

// TestAuditSaysThatItDidNotAsk: without Kinesis a table without findings can still be wrong.
func TestAuditSaysThatItDidNotAsk(t *testing.T) {
	srv := kinesisFor(t, table)
	const stream = "123456789012:orders:1700000000"
	r := newRig(t, lease("a", covers("0", last), func(l *leases.Lease) { l.StreamARN = srv.StreamARN(table) }))
	got := r.leases("audit", "-kinesis-endpoint", "http://"+nowhere)
	require.Equal(t, statusOK, got.status, got.out+got.errors)
	require.Contains(t, got.out, "note: not-asked: Kinesis was not asked: ask Kinesis about stream arn:")
	require.Contains(t, got.out, "1 row audited, without Kinesis: 0 findings")
	got = r.leases("audit", "-kinesis-endpoint", "http://"+nowhere, "-stream", table)
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "ask Kinesis about stream orders")

	require.NoError(t, r.store.Delete(t.Context(), leases.Lease{Key: "a"}, 0))
	require.NoError(t, r.store.Create(t.Context(),
		lease(stream+":a", covers("0", last), func(l *leases.Lease) { l.Stream, l.ShardID = stream, "a" })))
	got = r.leases("audit", "-kinesis-endpoint", srv.URL())
	require.Contains(t, got.out, "re-created: ", "the keys say when the stream was created")
	require.Equal(t, statusUsage, r.leases("audit", "-kinesis-endpoint", srv.URL(), "-stream", table).status)
}
