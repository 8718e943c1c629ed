package redis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasetest"
	"github.com/kinesis-go/kcl/leases/redis"
)

func TestLeaseStore(t *testing.T) {
	t.Parallel()
	leasetest.TestStore(t, func(t *testing.T) leases.Store {
		_, s := serve(t)
		return s
	})
}

// TestLayout fixes the layout in Redis, because other versions of this library must be able to read
// it.
func TestLayout(t *testing.T) {
	t.Parallel()
	srv, s := serve(t)
	require.NoError(t, s.Init(t.Context()))
	require.NoError(t, s.Create(t.Context(), everything("shardId-000000000001")))
	multi := lease("123456789012:orders:1700000000:shardId-000000000002")
	multi.Stream, multi.ShardID = "123456789012:orders:1700000000", "shardId-000000000002"
	require.NoError(t, s.Create(t.Context(), multi))

	require.ElementsMatch(t, []string{tableKey, indexKey, rowKey + "shardId-000000000001", rowKey + multi.Key}, srv.Keys())
	table := hash(t, srv, tableKey)
	_, err := time.Parse(time.RFC3339, table["created"])
	require.NoError(t, err)
	delete(table, "created")
	require.Equal(t, map[string]string{"layout": "kcl-go leases", "format": "1", "application": "orders"}, table)

	row := hash(t, srv, rowKey+"shardId-000000000001")
	require.NotEmpty(t, row["lastWrite"])
	delete(row, "lastWrite")
	require.Equal(t, map[string]string{
		"leaseKey": "shardId-000000000001", "leaseOwner": "b", "checkpointOwner": "a", "leaseCounter": "9",
		"ownerSwitchesSinceCheckpoint": "1",
		"checkpoint":                   "12", "checkpointSubSequenceNumber": "3", "pendingCheckpoint": "13",
		"pendingCheckpointSubSequenceNumber": "0", "pendingCheckpointState": "s",
		"parentShardId": "p", "childShardIds": "c,d", "startingHashKey": "1", "endingHashKey": "2",
		"throughputKBps": "0.000219",
		"goOwner":        "b", "goPinnedAt": "2023-11-14T22:13:20.5Z", "goStreamCreated": "2020-09-13T12:26:40Z",
		"goApp": "orders", "goStream": "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
		"goOrigin": "LATEST@2023-11-14T22:13:20.5Z",
		"goPaused": "shard p1", "goReset": "r1", "goReached": "2023-11-14T22:13:21Z", "goCan": "1", "goHandoverTo": "b",
	}, row)
	row = hash(t, srv, rowKey+multi.Key)
	delete(row, "lastWrite")
	require.Equal(t, map[string]string{
		"leaseKey": multi.Key, "streamName": multi.Stream, "shardId": multi.ShardID, "leaseCounter": "0",
		"ownerSwitchesSinceCheckpoint": "0",
		"checkpoint":                   "TRIM_HORIZON", "checkpointSubSequenceNumber": "0",
	}, row)
	for _, key := range srv.Keys() {
		require.Zero(t, srv.TTL(key), "nothing expires")
	}
}

// TestL18PoisonedRows: two hundred damaged rows do not hide a good row. They stay as they are, and
// can be deleted.
func TestL18PoisonedRows(t *testing.T) {
	t.Parallel()
	srv, s := serve(t)
	require.NoError(t, s.Init(t.Context()))
	for i := range 200 {
		good, bad := fmt.Sprintf("good-%03d", i), fmt.Sprintf("bad-%03d", i)
		require.NoError(t, s.Create(t.Context(), lease(good)))
		require.NoError(t, s.Create(t.Context(), lease(bad)))
		switch key := rowKey + bad; i % 8 {
		case 0:
			srv.HDel(key, "leaseCounter")
		case 1:
			srv.HSet(key, "checkpoint", "SHARD_ENDS")
		case 2:
			srv.HSet(key, "leaseCounter", "99999999999999999999")
		case 3:
			srv.HSet(key, "pendingCheckpoint", strings.Repeat("x", 400<<10))
		case 4:
			srv.HSet(key, "leaseKey", good)
		case 5:
			srv.Del(key)
			require.NoError(t, srv.Set(key, "no hash"))
		case 6:
			srv.Del(key) // as an eviction does
		case 7:
			srv.HSet(key, "goPinnedAt", "\x1b[31myesterday\n")
		}
	}
	before := srv.Dump()
	l, err := s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, l.Leases, 200)
	require.Len(t, l.Bad, 200)
	for _, bad := range l.Bad {
		require.Contains(t, bad.Key, "bad-")
		require.ErrorContains(t, bad, "until then the shard is left alone")
		require.Less(t, len(bad.Error()), 700)
		require.NotContains(t, bad.Error(), "\x1b")

		var row *leases.RowError
		_, err := s.Get(t.Context(), bad.Key)
		require.ErrorAs(t, err, &row)
		require.Equal(t, bad.Error(), row.Error())
		require.ErrorAs(t, s.Create(t.Context(), lease(bad.Key)), &row)
		read := lease(bad.Key)
		read.Owner = "somebody"
		require.ErrorAs(t,
			s.Update(t.Context(), leases.Update{Read: read, Expect: leases.AttrOwner, To: read, Set: leases.AttrAll}), &row)
		if !strings.Contains(bad.Error(), "it is gone") { // a row that does not exist can be deleted
			require.ErrorAs(t, s.Delete(t.Context(), read, leases.AttrOwner), &row, bad.Key)
		}
	}
	require.Equal(t, before, srv.Dump(), "damage is left as it is, for whoever repairs it")

	_, err = s.Get(t.Context(), "bad-001")
	require.ErrorContains(t, err, `row "bad-001": attribute checkpoint is "SHARD_ENDS", want decimal digits`)
	require.ErrorContains(t, err, `correct the hash "kcl:{orders}:lease:bad-001", or, to read the shard`)
	_, err = s.Get(t.Context(), "bad-005")
	require.ErrorContains(t, err, "it is a string, want a hash")
	_, err = s.Get(t.Context(), "bad-006")
	require.ErrorContains(t, err, "kcl:{orders}:leases names it, but it is gone")

	for _, bad := range l.Bad {
		err := s.Delete(t.Context(), leases.Lease{Key: bad.Key}, 0)
		if strings.Contains(bad.Error(), "want a hash") { // it belongs to something else
			require.Error(t, err)
			require.True(t, srv.Del(rowKey+bad.Key))
			require.NoError(t, s.Delete(t.Context(), leases.Lease{Key: bad.Key}, 0))
		} else {
			require.NoError(t, err)
		}
		require.NoError(t, s.Create(t.Context(), lease(bad.Key)))
	}
	l, err = s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, l.Leases, 400)
	require.Empty(t, l.Bad)
}

// TestL21PagedList: List finds thousands of rows page by page. It does not go through the keys of
// others with KEYS or SCAN.
func TestL21PagedList(t *testing.T) {
	t.Parallel()
	srv := miniredis.NewMiniRedis()
	t.Cleanup(srv.Close)
	seen := &recorder{}
	client := clientOf(t, srv)
	client.AddHook(seen)
	s := storeOn(t, srv, func(c *redis.Config) { c.Client = client })
	require.NoError(t, s.Init(t.Context()))
	for _, n := range []int{0, 99, 100, 101, 2500} {
		rows := map[string]bool{}
		for i := range n {
			key := fmt.Sprintf("shardId-%012d", i)
			rows[key] = true
			srv.HSet(rowKey+key, "leaseKey", key, "leaseCounter", "1", "ownerSwitchesSinceCheckpoint", "0", "checkpoint",
				"LATEST", "checkpointSubSequenceNumber", "0")
			_, err := srv.ZAdd(indexKey, 0, key)
			require.NoError(t, err)
		}
		seen.reset()
		l, err := s.List(t.Context())
		require.NoError(t, err)
		require.Empty(t, l.Bad)
		require.Len(t, l.Leases, n)
		for _, row := range l.Leases {
			delete(rows, row.Key)
		}
		require.Empty(t, rows)
		counts := seen.counts()
		for name, most := range map[string]int{
			"evalsha": n/100 + 1, "eval": 1, "hgetall": n, "hmget": n/30 + 3, "requests": n/30 + 3, "hello": 1, "client": 2,
		} {
			require.LessOrEqual(t, counts[name], most, name)
			delete(counts, name)
		}
		require.Empty(t, counts, "no command that goes through the keys of others")
	}
	// A page of the index or of rows that fails makes the listing fail: a listing must not lack rows
	// without an error.
	for n := 10; n < 15; n++ {
		seen.fail(n)
		l, err := s.List(t.Context())
		require.ErrorIs(t, err, errInjected)
		require.Empty(t, l.Leases)
	}
}

// TestIndexHeals: a row that the index has lost is found again after Create, which shard sync calls
// for rows that it does not see.
func TestIndexHeals(t *testing.T) {
	t.Parallel()
	srv, s := serve(t)
	require.NoError(t, s.Init(t.Context()))
	require.NoError(t, s.Create(t.Context(), everything("a")))
	require.NoError(t, s.Create(t.Context(), everything("b")))
	srv.Del(indexKey)
	l, err := s.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, l.Leases)

	var conflict *leases.ConflictError
	require.ErrorAs(t, s.Create(t.Context(), lease("a")), &conflict)
	require.True(t, everything("a").Same(leases.AttrAll, *conflict.Current))
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: everything("b"), Expect: leases.AttrAll, To: everything("b"), Set: leases.AttrCounter,
	}))
	l, err = s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, l.Leases, 2)
}

// TestL30UnknownAttributesSurvive: no write removes fields that this version does not know.
func TestL30UnknownAttributesSurvive(t *testing.T) {
	t.Parallel()
	srv, s := serve(t)
	require.NoError(t, s.Init(t.Context()))
	require.NoError(t, s.Create(t.Context(), lease("a")))
	srv.HSet(rowKey+"a", "future", "x\x00y", "goFuture", "")
	for bit := leases.Attr(1); leases.AttrAll.Has(bit); bit <<= 1 {
		for _, to := range []leases.Lease{everything("a"), lease("a")} {
			read, err := s.Get(t.Context(), "a")
			require.NoError(t, err)
			require.NoError(t, s.Update(t.Context(), leases.Update{Read: read, Expect: leases.AttrAll, To: to, Set: bit}))
		}
	}
	row := hash(t, srv, rowKey+"a")
	require.Equal(t, "x\x00y", row["future"])
	require.Contains(t, row, "goFuture")
}

// TestEmptyIsAbsent: an operator who releases a lease by hand leaves an empty owner. The next
// worker takes the lease.
func TestEmptyIsAbsent(t *testing.T) {
	t.Parallel()
	srv, s := serve(t)
	require.NoError(t, s.Init(t.Context()))
	require.NoError(t, s.Create(t.Context(), everything("a")))
	optional := []string{
		"leaseOwner", "checkpointOwner", "pendingCheckpoint", "pendingCheckpointSubSequenceNumber",
		"pendingCheckpointState", "parentShardId", "childShardIds", "startingHashKey", "endingHashKey", "throughputKBps",
		"goOwner", "goPinnedAt", "goStreamCreated", "goApp", "goStream", "goOrigin", "goPaused", "goReset", "goReached",
		"goCan", "goHandoverTo",
	}
	for _, name := range optional {
		srv.HSet(rowKey+"a", name, "")
	}
	read, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	want := lease("a").With(leases.AttrCounter|leases.AttrOwnerSwitches|leases.AttrCheckpoint, everything("a"))
	require.Equal(t, want, read)
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: read, Expect: leases.AttrAll, To: everything("a"), Set: leases.AttrAll,
	}))
	read, err = s.Get(t.Context(), "a")
	require.NoError(t, err)
	require.True(t, everything("a").Same(leases.AttrAll, read))
}
