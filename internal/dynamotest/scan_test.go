package dynamotest_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
)

// TestScan: pages, empty pages and segments together return every row once.
func TestScan(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg      dynamotest.Config
		segments int32
		limit    *int32
	}{
		"one page":    {segments: 1},
		"small pages": {cfg: dynamotest.Config{PageRows: 7}, segments: 1},
		"empty pages": {cfg: dynamotest.Config{PageRows: 50, EmptyPages: true}, segments: 1},
		"segments":    {cfg: dynamotest.Config{PageRows: 3}, segments: 5},
		"limit":       {segments: 2, limit: aws.Int32(10)},
	} {
		srv, client := serve(t, tt.cfg)
		want := map[string]bool{}
		for i := range 200 {
			key := fmt.Sprintf("shardId-%012d", i)
			want[key] = true
			srv.Put(*table, dynamotest.Item{"leaseKey": dynamotest.S(key)})
		}
		for segment := range tt.segments {
			in := &dynamodb.ScanInput{TableName: table, Limit: tt.limit}
			if tt.segments > 1 {
				in.Segment, in.TotalSegments = &segment, &tt.segments
			}
			rows := 0
			for {
				out, err := client.Scan(t.Context(), in)
				require.NoError(t, err)
				for _, it := range out.Items {
					key := it["leaseKey"].(*types.AttributeValueMemberS).Value
					require.True(t, want[key], "%s: %s twice", name, key)
					delete(want, key)
					rows++
				}
				if out.LastEvaluatedKey == nil {
					break
				}
				in.ExclusiveStartKey = out.LastEvaluatedKey
			}
			require.NotZero(t, rows, name)
		}
		require.Empty(t, want, name)
	}
	// A megabyte ends a page.
	srv, client := serve(t, dynamotest.Config{})
	for i := range 10 {
		srv.Put(*table, dynamotest.Item{"leaseKey": dynamotest.S(fmt.Sprint(i)), "x": dynamotest.B(make([]byte, 300<<10))})
	}
	out, err := client.Scan(t.Context(), &dynamodb.ScanInput{TableName: table})
	require.NoError(t, err)
	require.Len(t, out.Items, 4)
	require.NotNil(t, out.LastEvaluatedKey)
}
