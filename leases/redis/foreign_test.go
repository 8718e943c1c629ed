package redis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	sdk "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/gokcl"
	"github.com/kinesis-go/kcl/leases/redis"
)

// oldTable reads over a real port: a pipeline of many commands needs a network
// that buffers.
func oldTable(t *testing.T, srv *miniredis.Miniredis) *redis.GoKCLTable {
	t.Helper()
	client := sdk.NewClient(&sdk.Options{Addr: srv.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	return redis.NewGoKCLTable(redis.Config{Client: client, Application: application})
}

func TestGoKCLTable(t *testing.T) {
	t.Parallel()
	srv := miniredis.RunT(t)
	store := storeOn(t, srv)
	old := oldTable(t, srv)
	require.NoError(t, old.Init(t.Context()))
	_, _, err := old.List(t.Context())
	require.ErrorIs(t, err, leases.ErrTableNotFound)

	want := []gokcl.Row{
		{ShardID: "a", Checkpoint: "SHARD_END"},
		{ShardID: "b", Parent: "a", Owner: "w", Until: time.Date(2026, 1, 31, 8, 0, 0, 1, time.UTC), Checkpoint: "12", Claim: "v"},
	}
	for _, r := range want {
		existing, err := old.Create(t.Context(), r)
		require.NoError(t, err)
		require.Nil(t, existing)
	}
	require.Equal(t, "12", srv.HGet("kcl:orders:shard:b", "Checkpoint"))
	require.Equal(t, "2026-01-31T08:00:00.000000001Z", srv.HGet("kcl:orders:shard:b", "LeaseTimeout"))
	existing, err := old.Create(t.Context(), gokcl.Row{ShardID: "a", Checkpoint: "1"})
	require.NoError(t, err)
	require.Equal(t, want[0], *existing, "nothing is overwritten")

	srv.HSet("kcl:orders:shard:c", "ShardID", "c", "Checkpoint", "SHARDEND")
	srv.HSet("kcl:orders:shard:d", "ShardID", "a")
	require.NoError(t, srv.Set("kcl:orders:shard:e", "text"))
	_, err = srv.SAdd("kcl:orders:shards", "c", "d", "e", "deleted")
	require.NoError(t, err)
	rows, bad, err := old.List(t.Context())
	require.NoError(t, err)
	slices.SortFunc(rows, func(a, b gokcl.Row) int { return strings.Compare(a.ShardID, b.ShardID) })
	require.Equal(t, want, rows)
	slices.SortFunc(bad, func(a, b *leases.RowError) int { return strings.Compare(a.Key, b.Key) })
	require.Len(t, bad, 3)
	require.ErrorContains(t, bad[0], `Checkpoint is "SHARDEND"`)
	require.ErrorContains(t, bad[1], `ShardID is "a", not as in the name of the key`)
	require.ErrorContains(t, bad[2], "is no hash")

	got, err := old.Get(t.Context(), "b")
	require.NoError(t, err)
	require.Equal(t, want[1], got)
	_, err = old.Get(t.Context(), "z")
	require.ErrorIs(t, err, leases.ErrNotFound)
	_, err = old.Get(t.Context(), "c")
	require.ErrorContains(t, err, `row "c"`)
	_, err = old.Create(t.Context(), gokcl.Row{ShardID: "c"})
	require.ErrorContains(t, err, `row "c"`)

	// Both may have the same name: their keys differ.
	require.NoError(t, store.Init(t.Context()))
	l, err := store.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, l.Leases)
	require.Empty(t, l.Bad)
}

func TestGoKCLTablePages(t *testing.T) {
	t.Parallel()
	srv := miniredis.RunT(t)
	for i := range 1001 {
		id := fmt.Sprintf("shardId-%012d", i)
		srv.HSet("kcl:orders:shard:"+id, "ShardID", id, "Checkpoint", "1")
		_, err := srv.SAdd("kcl:orders:shards", id)
		require.NoError(t, err)
	}
	rows, bad, err := oldTable(t, srv).List(t.Context())
	require.NoError(t, err)
	require.Len(t, rows, 1001)
	require.Empty(t, bad)
}

func TestGoKCLTableErrors(t *testing.T) {
	t.Parallel()
	srv := miniredis.RunT(t)
	old := oldTable(t, srv)
	require.NoError(t, srv.Set("kcl:orders:shards", "text"))
	_, _, err := old.List(t.Context())
	require.ErrorIs(t, err, leases.ErrForeignTable)
	srv.SetError("NOPERM User u has no permissions to run the 'smembers' command")
	_, _, err = old.List(t.Context())
	require.ErrorIs(t, err, kcl.ErrAccessDenied)
	srv.SetError("ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'u' 'password' ")
	_, _, err = old.List(t.Context())
	require.ErrorContains(t, err, "unknown command 'HELLO'")
	require.NotContains(t, err.Error(), "password")
	srv.Close()
	_, _, err = old.List(t.Context())
	require.ErrorContains(t, err, "list in kcl:orders:shards")
}

// FuzzGoKCLHash puts any fields under any id into an old table: the row is read
// or a bad one, and the others are not affected.
func FuzzGoKCLHash(f *testing.F) {
	f.Add("s", "s", "w", "2026-01-31T08:00:00Z", "12")
	f.Add("s", "\x1b", "", "soon", "SHARD_END ")
	f.Add("", "a:b", "w", "", "\xff")
	srv := miniredis.NewMiniRedis()
	require.NoError(f, srv.Start())
	f.Cleanup(srv.Close)
	client := sdk.NewClient(&sdk.Options{Addr: srv.Addr()})
	f.Cleanup(func() { _ = client.Close() })
	old := redis.NewGoKCLTable(redis.Config{Client: client, Application: application})
	f.Fuzz(func(t *testing.T, id, field, owner, timeout, checkpoint string) {
		srv.FlushAll()
		good := gokcl.Row{ShardID: "fine", Checkpoint: "1"}
		if id == good.ShardID {
			return
		}
		_, err := old.Create(t.Context(), good)
		require.NoError(t, err)
		srv.HSet("kcl:orders:shard:"+id, gokcl.FieldShardID, field, gokcl.FieldOwner, owner, gokcl.FieldTimeout, timeout, gokcl.FieldCheckpoint, checkpoint)
		_, err = srv.SAdd("kcl:orders:shards", id)
		require.NoError(t, err)
		rows, bad, err := old.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, len(rows)+len(bad))
		require.Contains(t, rows, good)
	})
}
