package gokcl_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/gokcl"
	"github.com/kinesis-go/kcl/leases"
)

// table is what the tables of both servers have in common.
type table interface {
	Create(ctx context.Context, r gokcl.Row) (*gokcl.Row, error)
	Get(ctx context.Context, shardID string) (gokcl.Row, error)
	List(ctx context.Context) ([]gokcl.Row, []*leases.RowError, error)
}

// testRows creates, lists and reads the rows of an empty table. damage puts a row of shard c into
// the table that cannot be read. problems are parts of the error of that row.
func testRows(t *testing.T, tab table, damage func(), problems ...string) {
	t.Helper()
	want := []gokcl.Row{
		{ShardID: "a", Checkpoint: "SHARD_END"},
		{
			ShardID: "b", Parent: "a", Owner: "w", Until: time.Date(2026, 1, 31, 8, 0, 0, 1, time.UTC),
			Checkpoint: "12", Claim: "v",
		},
	}
	for _, r := range want {
		existing, err := tab.Create(t.Context(), r)
		require.NoError(t, err)
		require.Nil(t, existing)
	}
	existing, err := tab.Create(t.Context(), gokcl.Row{ShardID: "a", Checkpoint: "1"})
	require.NoError(t, err)
	require.Equal(t, want[0], *existing, "nothing is overwritten")

	damage()
	rows, bad, err := tab.List(t.Context())
	require.NoError(t, err)
	slices.SortFunc(rows, func(a, b gokcl.Row) int { return strings.Compare(a.ShardID, b.ShardID) })
	require.Equal(t, want, rows)
	require.Len(t, bad, 1)
	for _, problem := range problems {
		require.ErrorContains(t, bad[0], problem)
	}
	_, err = tab.Create(t.Context(), gokcl.Row{ShardID: "c"})
	require.ErrorContains(t, err, `row "c"`)

	got, err := tab.Get(t.Context(), "b")
	require.NoError(t, err)
	require.Equal(t, want[1], got)
	_, err = tab.Get(t.Context(), "z")
	require.ErrorIs(t, err, leases.ErrNotFound)
	_, err = tab.Get(t.Context(), "c")
	require.ErrorContains(t, err, `row "c"`)
}
