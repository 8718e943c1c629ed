package integration

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"
)

// TestMixedSeveralStreams has a Java and a Go worker that read two streams with one table, whose
// lease keys both write alike. Each takes over everything from the other, killed or stopped. Then
// both get a shorter list, and nobody reads the stream that is left out.
func TestMixedSeveralStreams(t *testing.T) {
	t.Parallel()
	ctx := within(t, 10*time.Minute)
	m := newMixed(ctx, t, "FANOUT", 2, 2)
	stays, goes := m.streams[0], m.streams[1]

	m.beginWithJava3(ctx, t, 4)
	m.start(ctx, t, "g1", "")
	m.awaitAll(ctx, t, 90*time.Second, 1, "j1", "g1")
	require.Len(t, m.rows, 4, "both write the same keys")
	m.stop(ctx, t, "g1")
	m.awaitAll(ctx, t, 45*time.Second, 4, "j1")
	m.start(ctx, t, "g2", "")
	m.awaitAll(ctx, t, 90*time.Second, 1, "j1", "g2")
	require.Zero(t, m.settled(ctx, t, 30*time.Second), "records twice")
	require.Empty(t, m.wrong)
	m.kill(ctx, t, "j1")
	m.awaitAll(ctx, t, 45*time.Second, 4, "g2")
	m.settled(ctx, t, 30*time.Second)
	m.stop(ctx, t, "g2")

	m.list, m.keys = []string{stays}, m.keys[:mixedKeys]
	for range 10 {
		_, err := m.kinesis.PutRecord(ctx,
			&kinesis.PutRecordInput{StreamName: aws.String(goes), PartitionKey: aws.String("key"), Data: []byte("left 1")})
		require.NoError(t, err)
	}
	m.start(ctx, t, "g3", "")
	m.awaitAll(ctx, t, 45*time.Second, 2, "g3")
	m.startJava3(ctx, t, "j2")
	m.awaitAll(ctx, t, 90*time.Second, 1, "g3", "j2")
	m.settled(ctx, t, 30*time.Second)
	require.Zero(t, m.times("left 1"), "deliveries of records of a stream that is not read any more")
	for _, key := range m.open(ctx, t, goes) {
		row, err := m.store.Get(ctx, key)
		require.NoError(t, err)
		require.Empty(t, row.ActualOwner(), key)
	}
	m.stop(ctx, t, "g3")
}
