package gokcl_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	sdk "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/gokcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/redis"
)

const application = "orders"

// redisTable returns a table of go-kcl in a fake Redis. Its client needs a real port, because a
// pipeline of many commands needs a network that buffers.
func redisTable(t *testing.T, srv *miniredis.Miniredis) *gokcl.RedisTable {
	t.Helper()
	return gokcl.NewRedisTable(clientOf(t, srv), "", application, timeout)
}

func clientOf(t *testing.T, srv *miniredis.Miniredis) *sdk.Client {
	t.Helper()
	client := sdk.NewClient(&sdk.Options{Addr: srv.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestRedisTable(t *testing.T) {
	t.Parallel()
	srv := miniredis.RunT(t)
	store := redis.New(redis.Config{Client: clientOf(t, srv), Application: application})
	old := redisTable(t, srv)
	require.NoError(t, old.Init(t.Context()))
	_, _, err := old.List(t.Context())
	require.ErrorIs(t, err, leases.ErrTableNotFound)

	testRows(t, old, func() {
		srv.HSet("kcl:orders:shard:c", "ShardID", "c", "Checkpoint", "SHARDEND")
		_, err := srv.SAdd("kcl:orders:shards", "c", "deleted")
		require.NoError(t, err)
	}, `Checkpoint is "SHARDEND"`)
	require.Equal(t, "12", srv.HGet("kcl:orders:shard:b", "Checkpoint"))
	require.Equal(t, "2026-01-31T08:00:00.000000001Z", srv.HGet("kcl:orders:shard:b", "LeaseTimeout"))

	srv.HSet("kcl:orders:shard:d", "ShardID", "a")
	require.NoError(t, srv.Set("kcl:orders:shard:e", "text"))
	_, err = srv.SAdd("kcl:orders:shards", "d", "e")
	require.NoError(t, err)
	_, bad, err := old.List(t.Context())
	require.NoError(t, err)
	slices.SortFunc(bad, func(a, b *leases.RowError) int { return strings.Compare(a.Key, b.Key) })
	require.Len(t, bad, 3)
	require.ErrorContains(t, bad[1], `ShardID is "a", not as in the name of the key`)
	require.ErrorContains(t, bad[2], "is no hash")

	// Both may have the same name: their keys differ.
	require.NoError(t, store.Init(t.Context()))
	l, err := store.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, l.Leases)
	require.Empty(t, l.Bad)
}

func TestRedisTablePages(t *testing.T) {
	t.Parallel()
	srv := miniredis.RunT(t)
	for i := range 1001 {
		id := fmt.Sprintf("shardId-%012d", i)
		srv.HSet("kcl:orders:shard:"+id, "ShardID", id, "Checkpoint", "1")
		_, err := srv.SAdd("kcl:orders:shards", id)
		require.NoError(t, err)
	}
	rows, bad, err := redisTable(t, srv).List(t.Context())
	require.NoError(t, err)
	require.Len(t, rows, 1001)
	require.Empty(t, bad)
}

func TestRedisTableErrors(t *testing.T) {
	t.Parallel()
	srv := miniredis.RunT(t)
	old := redisTable(t, srv)
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

// deny refuses a command, in scripts too.
func deny(command string) server.Hook {
	return func(c *server.Peer, cmd string, _ ...string) bool {
		if cmd == command {
			c.WriteError("NOPERM this user has no permissions to run the '" + strings.ToLower(cmd) + "' command")
		}
		return cmd == command
	}
}

// TestARightIsLostInCreate: a row is whole, or does not exist.
func TestARightIsLostInCreate(t *testing.T) {
	t.Parallel()
	for _, command := range strings.Fields("HSET SADD") {
		srv := miniredis.RunT(t)
		g := redisTable(t, srv)
		row := gokcl.Row{ShardID: "shardId-000000000001", Checkpoint: "12"}
		srv.Server().SetPreHook(deny(command))
		_, err := g.Create(t.Context(), row)
		require.Error(t, err)
		srv.Server().SetPreHook(nil)
		_, err = g.Get(t.Context(), row.ShardID)
		require.ErrorIs(t, err, leases.ErrNotFound)
		existing, err := g.Create(t.Context(), row)
		require.NoError(t, err)
		require.Nil(t, existing, "half a row is not taken for a row")
		all, _, err := g.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, []gokcl.Row{row}, all)
	}
}

// FuzzHash puts any fields under any id into a table. The row is read, or is a bad row. Other rows
// are not affected.
func FuzzHash(f *testing.F) {
	f.Add("s", "s", "w", "2026-01-31T08:00:00Z", "12")
	f.Add("s", "\x1b", "", "soon", "SHARD_END ")
	f.Add("", "a:b", "w", "", "\xff")
	srv := miniredis.NewMiniRedis()
	require.NoError(f, srv.Start())
	f.Cleanup(srv.Close)
	client := sdk.NewClient(&sdk.Options{Addr: srv.Addr()})
	f.Cleanup(func() { _ = client.Close() })
	old := gokcl.NewRedisTable(client, "", application, timeout)
	f.Fuzz(func(t *testing.T, id, field, owner, timeout, checkpoint string) {
		srv.FlushAll()
		good := gokcl.Row{ShardID: "fine", Checkpoint: "1"}
		if id == good.ShardID {
			return
		}
		_, err := old.Create(t.Context(), good)
		require.NoError(t, err)
		srv.HSet("kcl:orders:shard:"+id, gokcl.FieldShardID, field, gokcl.FieldOwner, owner,
			gokcl.FieldTimeout, timeout, gokcl.FieldCheckpoint, checkpoint)
		_, err = srv.SAdd("kcl:orders:shards", id)
		require.NoError(t, err)
		rows, bad, err := old.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, len(rows)+len(bad))
		require.Contains(t, rows, good)
	})
}
