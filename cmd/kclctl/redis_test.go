package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	sdk "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
	redisstore "github.com/kinesis-go/kcl/leases/redis"
)

// TestOnRedis runs the commands on a Redis that asks for a password.
func TestOnRedis(t *testing.T) {
	want := newRig(t, fleet()...).leases("list", "-json")
	srv := miniredis.RunT(t)
	srv.RequireUserAuth("operator", "pass-word")
	url := "redis://operator:pass-word@" + srv.Addr() + "/0"
	client := sdk.NewClient(&sdk.Options{Addr: srv.Addr(), Username: "operator", Password: "pass-word"})
	t.Cleanup(func() { _ = client.Close() })
	store := redisstore.New(redisstore.Config{Client: client, Application: table, Logger: slog.New(slog.DiscardHandler)})
	do := func(args ...string) result {
		t.Helper()
		got := kclctl(t, strings.NewReader(""),
			append([]string{"leases", args[0], "-table", table, "-redis", url}, args[1:]...)...)
		require.NotContains(t, got.out+got.errors, "pass-word")
		return got
	}
	got := do("list")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "there is no table orders here: check -table, -redis and -redis-prefix")
	require.Empty(t, srv.Keys(), "list makes no table")

	require.NoError(t, store.Init(t.Context()))
	for _, l := range fleet() {
		require.NoError(t, store.Create(t.Context(), l))
	}
	got = do("list", "-json")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Equal(t, want.out, got.out, "a lease is a lease, wherever it is kept")
	got = do("audit")
	require.Equal(t, statusOK, got.status, got.out+got.errors)

	got = do("release", held, pending, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	got = do("set-checkpoint", free, seq1, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	l, err := store.Get(t.Context(), free)
	require.NoError(t, err)
	require.Equal(t, seq1, l.Checkpoint.SequenceNumber)
	got = do("adopt", "-created", "2026-02-01T00:00:00Z", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	got = do("delete", finished, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	_, err = store.Get(t.Context(), finished)
	require.ErrorIs(t, err, leases.ErrNotFound)

	got = do("export", "-to", old, "-to-store", "redis", "-to-redis", url, "-lossy", "-force", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Equal(t, seq2, srv.HGet("kcl:orders-old:shard:"+pending, "Checkpoint"))

	wrong := strings.Replace(url, "pass-word", "not-the-word", 1)
	got = kclctl(t, strings.NewReader(""), "leases", "list", "-table", table, "-redis", wrong)
	require.Equal(t, statusFailed, got.status)
	require.NotContains(t, got.out+got.errors, "not-the-word")
}

// TestImportFromRedis imports hashes of the old library into DynamoDB, and into a table of the same
// name in the same Redis.
func TestImportFromRedis(t *testing.T) {
	r := newRig(t)
	srv := miniredis.RunT(t)
	for _, it := range oldFleet() {
		for name, v := range it {
			srv.HSet("kcl:orders:shard:"+it["ShardID"].Text, name, v.Text)
		}
		_, err := srv.SAdd("kcl:orders:shards", it["ShardID"].Text)
		require.NoError(t, err)
	}
	url := "redis://" + srv.Addr()
	got := r.leases("import", "-from", table, "-from-store", "redis", "-from-redis", url, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "4 read back and found right")
	require.Equal(t, seq2, r.get("shardId-000000000002").Checkpoint.SequenceNumber)

	args := []string{
		"leases", "import", "-from", table, "-from-store", "redis", "-from-redis", url, "-redis", url,
		"-table", table, "-yes",
	}
	for _, want := range []string{"4 rows created", "4 there already"} {
		got = kclctl(t, strings.NewReader(""), args...)
		require.Equal(t, statusOK, got.status, got.errors)
		require.Contains(t, got.out, want)
	}

	srv.HSet("kcl:orders:shard:shardId-000000000002", "Checkpoint", "x")
	got = kclctl(t, strings.NewReader(""), args...)
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "refused: 1 row of table orders cannot be read")

	got = r.leases("import", "-from", "typo", "-from-store", "redis", "-from-redis", url, "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "there is no table typo here: check -from")
}
