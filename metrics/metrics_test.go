package metrics_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/metrics"
)

func TestNilIsNoOp(t *testing.T) {
	t.Parallel()
	m := metrics.New(nil)
	require.Nil(t, m)
	m.SetLeasesHeld(1)
	m.LeaseTaken("free")
	m.LeaseLost("taken")
	m.LeaseRenewed(time.Second)
	m.LeaseStoreError("update")
	m.SetLeaseRowsInvalid(1)
	m.SetAssignmentMode(2)
	m.SetLeader(true)
	m.SetLeasesUnassigned(1)
	m.SetStreams(1)
	m.SetFormerStreams(1)

	st := m.Stream("orders")
	require.Nil(t, st)
	st.ShardSyncError()
	st.SetHashRangeHoles(1)
	st.Close()

	s := m.Shard("orders", "shardId-000000000000")
	require.Nil(t, s)
	s.Batch(1, 1, time.Second, true)
	s.Processed(time.Second)
	s.Done(1)
	s.AggregatesCorrupt(1)
	s.RecordsDropped(1)
	s.ProcessorFailed("process_records", "panic")
	s.SubscriptionOpened()
	s.SubscriptionEnded("expired")
	s.Retried("GetRecords", "timeout")
	s.SetFanOut(true)
	s.RetentionGap()
	s.SetStalled(true)
	s.Checkpointed("ok", time.Second)
	s.Close()
}

func TestDescriptions(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^kcl(_[a-z]+)+$`)
	seen := make(map[string]bool)
	for _, d := range metrics.All() {
		require.Regexp(t, name, d.Name)
		require.False(t, seen[d.Name], "%s is listed twice", d.Name)
		seen[d.Name] = true
		require.True(t, strings.HasSuffix(d.Help, "."), "%s: help is no sentence: %q", d.Name, d.Help)
		require.Equal(t, d.Kind == metrics.KindCounter, strings.HasSuffix(d.Name, "_total"),
			"%s: counters end in _total, others do not", d.Name)
		require.Equal(t, d.Kind == metrics.KindHistogram, d.Buckets != nil, "%s: buckets belong to histograms", d.Name)
		if d.Unit != "" && d.Kind != metrics.KindCounter {
			require.True(t, strings.HasSuffix(d.Name, "_"+d.Unit), "%s: name does not end in its unit %s", d.Name, d.Unit)
		}
		for _, l := range d.Labels {
			require.Contains(t, []string{"stream", "shard", "method", "cause", "reason", "operation", "code", "result", "mode"},
				l, "%s: a new label needs a bounded set of values", d.Name)
		}
	}
}

func TestLag(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		recorded float64
		since    time.Duration
		want     float64
	}{
		{0, 0, 0},
		{3.5, time.Second, 3.5},
		{0, 10 * time.Second, 0},
		{0, 11 * time.Second, 11},
		{60, time.Minute, 120},
	} {
		require.InDelta(t, test.want, metrics.Lag(test.recorded, test.since), 1e-9)
	}
}
