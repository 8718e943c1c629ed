package redis_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/redis"
)

// TestForeignTable: every call refuses foreign data at the table's keys, and leaves them as they
// are. The error names the data and a remedy.
func TestForeignTable(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		make func(*miniredis.Miniredis)
		want string
	}{
		"a string": {func(m *miniredis.Miniredis) { _ = m.Set(tableKey, "x") }, "kcl:{orders}:table is a string"},
		"an index of a kind": {func(m *miniredis.Miniredis) {
			_, _ = m.SAdd(indexKey,
				"x")
		}, "there is a set kcl:{orders}:leases, but no kcl:{orders}:table"},
		"a lost table key": {func(m *miniredis.Miniredis) {
			_, _ = m.ZAdd(indexKey, 0,
				"x")
		}, "restore that key from a backup"},
		"another layout": {func(m *miniredis.Miniredis) {
			m.HSet(tableKey, "layout", "kcl", "format", "1", "application", application)
		}, `the layout in kcl:{orders}:table is "kcl", want "kcl-go leases"`},
		"no layout": {func(m *miniredis.Miniredis) {
			m.HSet(tableKey, "ShardID",
				"1")
		}, `the layout in kcl:{orders}:table is ""`},
		"a later format": {func(m *miniredis.Miniredis) {
			m.HSet(tableKey, "layout", "kcl-go leases", "format", "2", "application", application)
		}, `is "2", and this version of the library knows only 1: use the version that wrote it`},
		"another application": {func(m *miniredis.Miniredis) {
			m.HSet(tableKey, "layout", "kcl-go leases", "format", "1", "application", "bills")
		}, `are of application "bills", not "orders"`},
		"a bad index": {func(m *miniredis.Miniredis) {
			m.HSet(tableKey, "layout", "kcl-go leases", "format", "1", "application", application)
			_ = m.Set(indexKey, "x")
		}, "kcl:{orders}:leases a string, want a hash and a zset"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, s := serve(t)
			tt.make(srv)
			before := srv.Dump()
			for call, err := range everyCall(t, s) {
				require.ErrorIs(t, err, leases.ErrForeignTable, call)
				require.ErrorContains(t, err, tt.want, call)
			}
			require.Equal(t, before, srv.Dump())
		})
	}
}

// TestTableNotFound: a table that was never made, or that is gone, is an error of every call except
// Init. No other call makes it.
func TestTableNotFound(t *testing.T) {
	t.Parallel()
	srv, s := serve(t)
	for range 2 {
		require.Empty(t, srv.Keys())
		errs := everyCall(t, s)
		require.NoError(t, errs["init"])
		delete(errs, "init")
		for call, err := range errs {
			require.ErrorIs(t, err, leases.ErrTableNotFound, call)
		}
		require.NoError(t, s.Create(t.Context(), lease("a")))
		srv.FlushAll() // as a server without persistence that starts again
	}
}

// TestManyApplications: applications, prefixes and the leases of another library share a Redis and
// do not affect each other.
func TestManyApplications(t *testing.T) {
	t.Parallel()
	srv := miniredis.NewMiniRedis()
	t.Cleanup(srv.Close)
	// go-kcl writes these keys for a table of this name, and for one in braces.
	for _, name := range []string{"orders", "{orders}"} {
		srv.HSet("kcl:"+name+":shard:shardId-000000000000", "ShardID", "shardId-000000000000", "AssignedTo", "w",
			"Checkpoint", "1")
		_, err := srv.SAdd("kcl:"+name+":shards", "shardId-000000000000")
		require.NoError(t, err)
	}
	foreign := srv.Keys()
	var stores []*redis.Store
	for _, prefix := range []string{"", "kcl:orders", "x"} {
		for _, name := range []string{"orders", "bills", "orders.2", "leases"} {
			s := storeOn(t, srv, func(c *redis.Config) { c.KeyPrefix, c.Application = prefix, name })
			require.NoError(t, s.Init(t.Context()))
			row := lease("shardId-000000000000")
			row.Owner = prefix + "/" + name
			require.NoError(t, s.Create(t.Context(), row))
			stores = append(stores, s)
		}
	}
	owners := map[string]bool{}
	for _, s := range stores {
		l, err := s.List(t.Context())
		require.NoError(t, err)
		require.Len(t, l.Leases, 1)
		owners[l.Leases[0].Owner] = true
		require.NoError(t, s.Delete(t.Context(), l.Leases[0], leases.AttrAll))
	}
	require.Len(t, owners, 12)
	for _, key := range foreign {
		require.True(t, srv.Exists(key))
	}
	// The table's key of each application is left.
	require.Len(t, srv.Keys(), len(foreign)+12)
}

// TestOneSlot: the text in braces decides about the slot. All keys of an application have the same
// text.
func TestOneSlot(t *testing.T) {
	t.Parallel()
	srv, s := serve(t)
	require.NoError(t, s.Init(t.Context()))
	for _, key := range []string{"a", "{x}", "}{", "a:b:c"} {
		require.NoError(t, s.Create(t.Context(), lease(key)))
	}
	for _, key := range srv.Keys() {
		_, rest, _ := strings.Cut(key, "{")
		tag, _, _ := strings.Cut(rest, "}")
		require.Equal(t, application, tag, key)
	}
}

func TestConcurrentInit(t *testing.T) {
	t.Parallel()
	srv := miniredis.NewMiniRedis()
	t.Cleanup(srv.Close)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		s := storeOn(t, srv)
		wg.Go(func() { errs[i] = s.Init(t.Context()) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, []string{tableKey}, srv.Keys())
}
