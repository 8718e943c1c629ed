package families

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

func TestOrder(t *testing.T) {
	t.Parallel()
	rows := []leases.Lease{
		{ShardID: "e", Parents: []string{"d", "c"}},
		{ShardID: "d", Parents: []string{"a", "b"}},
		{ShardID: "a"},
		{ShardID: "b"},
		{ShardID: "c"},
		{ShardID: "x", Parents: []string{"y"}},
		{ShardID: "y", Parents: []string{"x"}}, // no family, but foreign data may
		{ShardID: "a", Stream: "other", Parents: []string{"d"}},
	}
	order, of := Order(rows)
	var ids []string
	for _, i := range order {
		ids = append(ids, rows[i].ShardID)
	}
	require.Equal(t, "a b d c e y x a", strings.Join(ids, " "))
	require.Equal(t, []int{of[0], of[0], of[0], of[0], of[0]}, of[:5])
	require.Equal(t, of[5], of[6])
	require.NotEqual(t, of[0], of[5])
	require.NotEqual(t, of[0], of[7])
}
