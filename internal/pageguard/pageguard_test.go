package pageguard_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/pageguard"
)

func TestNext(t *testing.T) {
	t.Parallel()
	key := func(s string) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{
			"b": &types.AttributeValueMemberS{Value: s}, "a": &types.AttributeValueMemberN{},
		}
	}
	var g pageguard.Guard
	for range 10 {
		for _, k := range []string{"x", "y"} {
			more, err := g.Next("dynamodb:Scan", "orders", key(k))
			require.NoError(t, err)
			require.True(t, more)
		}
	}
	more, err := g.Next("dynamodb:Scan", "orders", nil)
	require.NoError(t, err)
	require.False(t, more, "the last page names no key")
	more, err = g.Next("dynamodb:Scan", "orders", key("y"))
	require.EqualError(t, err,
		`dynamodb:Scan table orders: the pages do not end, LastEvaluatedKey is a "", b "y" again and again`)
	require.False(t, more)
}
