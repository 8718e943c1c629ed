package integration

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasetest"
	"github.com/kinesis-go/kcl/leases/redis"
)

func redisOptions(t *testing.T, url string) *sdk.Options {
	t.Helper()
	o, err := sdk.ParseURL(url)
	require.NoError(t, err)
	return o
}

// redisStore returns the store of an application of its own.
func redisStore(t *testing.T, client sdk.UniversalClient, change ...func(*redis.Config)) *redis.Store {
	t.Helper()
	cfg := redis.Config{
		Client: client, Application: unique("leases"),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	return redis.New(cfg)
}

func closed[C interface{ Close() error }](t *testing.T, client C) C {
	t.Helper()
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func redisCluster(t *testing.T) *sdk.ClusterClient {
	t.Helper()
	addresses := strings.Split(endpoint(t, "KCL_REDIS_CLUSTER"), ",")
	return closed(t, sdk.NewClusterClient(&sdk.ClusterOptions{Addrs: addresses}))
}

func TestStoreOnRedis(t *testing.T) {
	t.Parallel()
	client := closed(t, sdk.NewClient(redisOptions(t, endpoint(t, "KCL_REDIS_URL"))))
	leasetest.TestStore(t, func(t *testing.T) leases.Store { return redisStore(t, client) })
}

// TestStoreOnRedisCluster: each of the suite's tests is an application, and so
// they spread over the nodes.
func TestStoreOnRedisCluster(t *testing.T) {
	t.Parallel()
	client := redisCluster(t)
	leasetest.TestStore(t, func(t *testing.T) leases.Store { return redisStore(t, client) })
}

// TestRedisClusterUsesAllNodes: applications spread over the nodes, and the
// keys of each are on one.
func TestRedisClusterUsesAllNodes(t *testing.T) {
	t.Parallel()
	client, ctx := redisCluster(t), within(t, time.Minute)
	prefix := unique("spread")
	for i := range 30 {
		s := redisStore(t, client, func(c *redis.Config) { c.KeyPrefix, c.Application = prefix, fmt.Sprint("app-", i) })
		require.NoError(t, s.Init(ctx))
		require.NoError(t, s.Create(ctx, redisLease("a")))
		l, err := s.List(ctx)
		require.NoError(t, err)
		require.Len(t, l.Leases, 1)
	}
	var nodes, keys atomic.Int64
	require.NoError(t, client.ForEachMaster(ctx, func(ctx context.Context, node *sdk.Client) error {
		found, err := node.Keys(ctx, prefix+":*").Result()
		if err == nil && len(found) > 0 {
			nodes.Add(1)
			keys.Add(int64(len(found)))
		}
		return err
	}))
	require.EqualValues(t, 3, nodes.Load())
	require.EqualValues(t, 90, keys.Load())
}

// TestRedisClusterMovesSlot: while the slot of an application moves to another
// node, calls may be refused; before and after it, and half-way, no row is lost
// or written by anybody who had not read it.
func TestRedisClusterMovesSlot(t *testing.T) {
	t.Parallel()
	client, ctx := redisCluster(t), within(t, time.Minute)
	application := unique("moving")
	s := redisStore(t, client, func(c *redis.Config) { c.Application = application })
	require.NoError(t, s.Init(ctx))
	const rows = 20
	for i := range rows {
		require.NoError(t, s.Create(ctx, redisLease(fmt.Sprint(i))))
	}
	row := redisLease("0")
	renew := func() error {
		to := row
		to.Counter++
		err := s.Update(ctx, leases.Update{Read: row, Expect: leases.AttrCounter, To: to, Set: leases.AttrCounter})
		if err == nil {
			row = to
		}
		return err
	}
	require.NoError(t, renew())

	key := "kcl:{" + application + "}:table"
	slot, err := client.ClusterKeySlot(ctx, key).Result()
	require.NoError(t, err)
	from, err := client.MasterForKey(ctx, key)
	require.NoError(t, err)
	var mu sync.Mutex // guards to
	var to *sdk.Client
	require.NoError(t, client.ForEachMaster(ctx, func(_ context.Context, node *sdk.Client) error {
		mu.Lock()
		defer mu.Unlock()
		if node.Options().Addr != from.Options().Addr {
			to = node
		}
		return nil
	}))
	id := func(node *sdk.Client) string {
		name, err := node.Do(ctx, "CLUSTER", "MYID").Text()
		require.NoError(t, err)
		return name
	}
	fromID, toID := id(from), id(to)
	require.NoError(t, to.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID).Err())
	require.NoError(t, from.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID).Err())
	host, port, err := net.SplitHostPort(to.Options().Addr)
	require.NoError(t, err)
	refused := 0
	for {
		some, err := from.ClusterGetKeysInSlot(ctx, int(slot), 7).Result()
		require.NoError(t, err)
		if len(some) == 0 {
			break
		}
		args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
		for _, k := range some {
			args = append(args, k)
		}
		require.NoError(t, from.Do(ctx, args...).Err())
		err = renew()
		var conflict *leases.ConflictError
		require.NotErrorAs(t, err, &conflict)
		require.NotErrorIs(t, err, leases.ErrTableNotFound)
		if err != nil {
			refused++
		}
	}
	for _, node := range []*sdk.Client{to, from} {
		require.NoError(t, node.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", toID).Err())
	}
	t.Logf("%d calls refused half-way", refused)
	require.NoError(t, renew())
	got, err := s.Get(ctx, "0")
	require.NoError(t, err)
	require.Equal(t, row.Counter, got.Counter)
	l, err := s.List(ctx)
	require.NoError(t, err)
	require.Len(t, l.Leases, rows)
	require.Empty(t, l.Bad)
}

func redisLease(key string) leases.Lease {
	return leases.Lease{
		Key: key, ShardID: key, ThroughputKBps: -1,
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
	}
}

// rights is what the package comment of leases/redis asks for.
const rights = "+eval +evalsha +type +hget +hmget +hgetall +hset +hdel +del " +
	"+zadd +zrem +zscore +zrangebylex +hello +auth +ping"

// setUser is the command that makes a user who may do what the package comment
// says with the keys of a pattern.
func setUser(name, password, pattern string, more ...string) []any {
	args := []any{"ACL", "SETUSER", name, "on", ">" + password, "~" + pattern}
	for _, right := range append(strings.Fields(rights), more...) {
		args = append(args, right)
	}
	return args
}

// withUser makes such a user, and returns its name and password.
func withUser(t *testing.T, admin *sdk.Client, pattern string, more ...string) (name, password string) {
	t.Helper()
	name, password = unique("user"), rand.Text()
	require.NoError(t, admin.Do(within(t, time.Minute), setUser(name, password, pattern, more...)...).Err())
	t.Cleanup(func() { _ = admin.Do(context.WithoutCancel(t.Context()), "ACL", "DELUSER", name).Err() })
	return name, password
}

// TestStoreOnRedisClusterWithUser: the rights that the package comment asks for
// are enough in a cluster.
func TestStoreOnRedisClusterWithUser(t *testing.T) {
	t.Parallel()
	admin, ctx := redisCluster(t), within(t, time.Minute)
	prefix, name, password := unique("acl"), unique("user"), rand.Text()
	require.NoError(t, admin.ForEachMaster(ctx, func(ctx context.Context, node *sdk.Client) error {
		return node.Do(ctx, setUser(name, password, prefix+":*", "+cluster|slots", "+command")...).Err()
	}))
	t.Cleanup(func() {
		_ = admin.ForEachMaster(context.WithoutCancel(t.Context()), func(ctx context.Context, node *sdk.Client) error {
			return node.Do(ctx, "ACL", "DELUSER", name).Err()
		})
	})
	client := closed(t, sdk.NewClusterClient(&sdk.ClusterOptions{
		Addrs: admin.Options().Addrs, Username: name,
		Password: password,
	}))
	leasetest.TestStore(t, func(t *testing.T) leases.Store {
		return redisStore(t, client, func(c *redis.Config) { c.KeyPrefix = prefix })
	})
}

// TestStoreOnRedisWithTLSAndUser runs the suite with a verified connection and
// a user who has no more than the documented rights.
func TestStoreOnRedisWithTLSAndUser(t *testing.T) {
	t.Parallel()
	admin := closed(t, sdk.NewClient(redisOptions(t, endpoint(t, "KCL_REDIS_URL"))))
	ca, err := os.ReadFile(endpoint(t, "KCL_REDIS_CA"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(ca))

	prefix := unique("tls")
	options := redisOptions(t, endpoint(t, "KCL_REDIS_TLS_URL"))
	untrusted := *options
	options.TLSConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	options.Username, options.Password = withUser(t, admin, prefix+":*")
	client := closed(t, sdk.NewClient(options))
	leasetest.TestStore(t, func(t *testing.T) leases.Store {
		return redisStore(t, client, func(c *redis.Config) { c.KeyPrefix = prefix })
	})

	ctx := within(t, time.Minute)
	err = redisStore(t, client, func(c *redis.Config) { c.KeyPrefix = prefix + "x" }).Init(ctx)
	require.ErrorIs(t, err, kcl.ErrAccessDenied, "keys of others")

	wrong := *options
	wrong.Password = rand.Text()
	err = redisStore(t, closed(t, sdk.NewClient(&wrong)), func(c *redis.Config) { c.KeyPrefix = prefix }).Init(ctx)
	require.ErrorIs(t, err, kcl.ErrAccessDenied)
	require.NotContains(t, err.Error(), wrong.Password)

	lacking := *options
	lacking.Username, lacking.Password = withUser(t, admin, prefix+":*", "-hset")
	err = redisStore(t, closed(t, sdk.NewClient(&lacking)), func(c *redis.Config) { c.KeyPrefix = prefix }).Init(ctx)
	require.ErrorIs(t, err, kcl.ErrAccessDenied, "a command in a script")
	require.ErrorContains(t, err, "package comment")

	err = redisStore(t, closed(t, sdk.NewClient(&untrusted))).Init(ctx)
	require.Error(t, err)
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown, "a certificate of an unknown authority")
}

// replicated is a master and a replica behind sentinels, one failover at a time.
type replicated struct {
	t         *testing.T
	sentinels []string
	sentinel  *sdk.SentinelClient
}

func newReplicated(t *testing.T) *replicated {
	t.Helper()
	sentinels := strings.Split(endpoint(t, "KCL_REDIS_SENTINELS"), ",")
	return &replicated{
		t: t, sentinels: sentinels,
		sentinel: closed(t, sdk.NewSentinelClient(&sdk.Options{Addr: sentinels[0]})),
	}
}

func (r *replicated) client() *sdk.Client {
	return closed(r.t, sdk.NewFailoverClient(&sdk.FailoverOptions{MasterName: "kcl", SentinelAddrs: r.sentinels}))
}

// master is the address of the master by the sentinels; empty when they do not say.
func (r *replicated) master(ctx context.Context) string {
	address, err := r.sentinel.GetMasterAddrByName(ctx, "kcl").Result()
	if err != nil || len(address) != 2 {
		return ""
	}
	return address[0] + ":" + address[1]
}

// stop ends a server. It is asked on a connection without retries: a client of
// the sentinels would stop the next master too.
func (r *replicated) stop(ctx context.Context, address string) {
	_ = closed(r.t, sdk.NewClient(&sdk.Options{Addr: address, MaxRetries: -1})).Do(ctx, "SHUTDOWN",
		"NOSAVE").Err() // the connection breaks
}

// whole waits until the master has a replica in step: then the next failover is possible.
func (r *replicated) whole(ctx context.Context) {
	r.t.Helper()
	client := r.client()
	until(ctx, r.t, func() string { return "the stopped server has not come back as a replica" }, func() bool {
		info, err := client.Info(ctx, "replication").Result()
		if err != nil || !strings.Contains(info, "state=online") {
			return false
		}
		replicas, err := r.sentinel.Replicas(ctx, "kcl").Result()
		return err == nil && len(replicas) == 1 && replicas[0]["flags"] == "slave" &&
			replicas[0]["master-link-status"] == "ok"
	})
}

// The two tests of failover take turns, so they do not run in parallel.

// TestS11RedisFailover: a master that is stopped is replaced, and the store
// goes on. Acknowledged writes may be lost at that, and if so the last ones.
func TestS11RedisFailover(t *testing.T) {
	r, ctx := newReplicated(t), within(t, 2*time.Minute)
	r.whole(ctx)
	s := redisStore(t, r.client(), func(c *redis.Config) { c.RequestTimeout = time.Second })
	require.NoError(t, s.Init(ctx))
	row := redisLease("a")
	row.Owner = "worker"
	require.NoError(t, s.Create(ctx, row))
	before := r.master(ctx)
	require.NotEmpty(t, before)

	accepted, failures, back, stopped := 0, 0, 0, false
	until(ctx, t, func() string {
		return fmt.Sprintf("master %s (before %s), %d writes accepted, %d failed", r.master(ctx), before, accepted, failures)
	}, func() bool {
		to := row
		to.Counter++
		err := s.Update(ctx, leases.Update{
			Read: row, Expect: leases.AttrOwner | leases.AttrCounter, To: to,
			Set: leases.AttrCounter,
		})
		var conflict *leases.ConflictError
		switch {
		case err == nil:
			row, accepted = to, accepted+1
		case errors.As(err, &conflict):
			// The row is as it was some writes ago: the new master had not seen them.
			// Nor can it be ahead of the last write that was tried.
			require.NotNil(t, conflict.Current, "the row itself was in step long before")
			require.LessOrEqual(t, conflict.Current.Counter, to.Counter)
			require.Equal(t, "worker", conflict.Current.Owner)
			back++
			row = *conflict.Current
		default:
			failures++
		}
		if accepted == 10 && !stopped {
			stopped = true
			r.stop(ctx, before)
		}
		now := r.master(ctx)
		return stopped && accepted >= 20 && now != "" && now != before
	})
	t.Logf("%d writes failed; the row went back %d times", failures, back)
	got, err := s.Get(ctx, "a")
	require.NoError(t, err)
	require.True(t, row.Same(leases.AttrAll, got))
	r.whole(ctx)
}

// TestS11RedisFleetFailover: two workers go on through a failover. No lease has
// two readers for longer than the failover time, and in the end each has one,
// the one that the table names.
func TestS11RedisFleetFailover(t *testing.T) {
	const shards, failover = 8, 5 * time.Second
	r, ctx := newReplicated(t), within(t, 3*time.Minute)
	r.whole(ctx)
	table := unique("fleet")
	store := func() *redis.Store {
		return redisStore(t, r.client(), func(c *redis.Config) { c.Application, c.RequestTimeout = table, time.Second })
	}
	s := store()
	require.NoError(t, s.Init(ctx))
	for i := range shards {
		require.NoError(t, s.Create(ctx, redisLease(fmt.Sprintf("shardId-%012d", i))))
	}

	var mu sync.Mutex // guards the two maps
	readers, twice := map[string]map[string]bool{}, map[string]time.Time{}
	longest := time.Duration(0)
	note := func(key, worker string, reads bool) {
		mu.Lock()
		defer mu.Unlock()
		if readers[key] == nil {
			readers[key] = map[string]bool{}
		}
		delete(readers[key], worker)
		if reads {
			readers[key][worker] = true
		}
		since, was := twice[key]
		switch {
		case len(readers[key]) > 1 && !was:
			twice[key] = time.Now()
		case len(readers[key]) < 2 && was:
			longest = max(longest, time.Since(since))
			delete(twice, key)
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	running, stop := context.WithCancel(ctx)
	defer stop()
	for _, id := range []string{"a", "b"} {
		c := coordinator.New(coordinator.Config{
			Store: store(), WorkerID: id, FailoverTime: failover, ScanInterval: 500 * time.Millisecond,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
			Consume: func(ctx context.Context, h *holder.Holder) {
				key := h.Lease().Key
				note(key, id, true)
				defer note(key, id, false)
				for n := int64(1); ; n++ {
					select {
					case <-ctx.Done():
						return
					case <-h.Stopping():
						return
					case <-time.After(200 * time.Millisecond):
						_ = h.Checkpoint(ctx, kcl.ExtendedSequenceNumber{SequenceNumber: fmt.Sprint(n)})
					}
				}
			},
		})
		wg.Go(func() { _ = c.Run(running) }) // ends with stop
	}
	settled := func() bool {
		l, err := s.List(ctx)
		if err != nil || len(l.Leases) != shards || len(l.Bad) > 0 {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		count := map[string]int{}
		for _, row := range l.Leases {
			if len(readers[row.Key]) != 1 || !readers[row.Key][row.Owner] {
				return false
			}
			count[row.Owner]++
		}
		return count["a"] == shards/2 && count["b"] == shards/2
	}
	show := func() string { mu.Lock(); defer mu.Unlock(); return fmt.Sprint("readers: ", readers) }
	until(ctx, t, show, settled)
	before := r.master(ctx)
	require.NotEmpty(t, before)
	r.stop(ctx, before)
	until(ctx, t, func() string { return "no new master" },
		func() bool { now := r.master(ctx); return now != "" && now != before })
	replaced := time.Now()
	old, err := s.List(ctx)
	require.NoError(t, err)
	until(ctx, t, show, func() bool { // every lease is renewed on the new master
		for _, row := range old.Leases {
			now, err := s.Get(ctx, row.Key)
			if err != nil || now.Counter < row.Counter+3 {
				return false
			}
		}
		return settled()
	})
	t.Logf("settled %v after the new master was named; two readers for at most %v",
		time.Since(replaced).Round(time.Millisecond), longest)
	mu.Lock()
	require.LessOrEqual(t, longest, failover)
	mu.Unlock()
	stop()
	wg.Wait()
	r.whole(ctx)
}

// BenchmarkRedisList says what one listing costs the only thread of a server: every
// worker lists all leases every few seconds.
func BenchmarkRedisList(b *testing.B) {
	options, err := sdk.ParseURL(endpoint(b, "KCL_REDIS_URL"))
	require.NoError(b, err)
	client := sdk.NewClient(options)
	defer func() { _ = client.Close() }()
	used := func() (seconds float64) {
		for line := range strings.Lines(client.Info(b.Context(), "cpu").Val()) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if name == "used_cpu_sys_main_thread" || name == "used_cpu_user_main_thread" {
				one, err := strconv.ParseFloat(value, 64)
				require.NoError(b, err)
				seconds += one
			}
		}
		return seconds
	}
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := redis.New(redis.Config{Client: client, Application: unique("list"), Logger: slog.New(slog.DiscardHandler)})
			require.NoError(b, s.Init(b.Context()))
			var rows []leases.Lease
			for i := range n {
				l := redisLease(fmt.Sprintf("shardId-%012d", i))
				l.Owner, l.NativeOwner, l.Counter = "worker-1:aaaaaaaaaa", "worker-1:aaaaaaaaaa", 12345
				l.StreamCreated, l.HashKeyRange = time.Unix(1700000000, 0).UTC(),
					kcl.HashKeyRange{Start: "0", End: "340282366920938463463374607431768211455"}
				rows = append(rows, l)
				require.NoError(b, s.Create(b.Context(), l))
			}
			before := used()
			b.ResetTimer()
			for range b.N {
				l, err := s.List(b.Context())
				require.NoError(b, err)
				require.Len(b, l.Leases, n)
			}
			b.StopTimer()
			b.ReportMetric((used()-before)/float64(b.N)/float64(n)*1e6, "server-µs/lease")
			for _, l := range rows {
				require.NoError(b, s.Delete(b.Context(), l, 0))
			}
		})
	}
}
