package integration

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
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
	cfg := redis.Config{Client: client, Application: unique("leases"), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
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

func redisLease(key string) leases.Lease {
	return leases.Lease{Key: key, ShardID: key, ThroughputKBps: -1, Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon}}
}

// rights is what the package comment of leases/redis asks for.
const rights = "+eval +evalsha +type +hget +hmget +hgetall +hset +hdel +del +zadd +zrem +zscore +zrangebylex +hello +auth +ping"

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
	client := closed(t, sdk.NewClusterClient(&sdk.ClusterOptions{Addrs: admin.Options().Addrs, Username: name, Password: password}))
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

// TestS11RedisFailover: a master that is stopped is replaced, and the store
// goes on. Acknowledged writes may be lost at that, and if so the last ones.
func TestS11RedisFailover(t *testing.T) {
	t.Parallel()
	sentinels := strings.Split(endpoint(t, "KCL_REDIS_SENTINELS"), ",")
	ctx := within(t, 2*time.Minute)
	client := closed(t, sdk.NewFailoverClient(&sdk.FailoverOptions{MasterName: "kcl", SentinelAddrs: sentinels}))
	s := redisStore(t, client, func(c *redis.Config) { c.RequestTimeout = time.Second })
	require.NoError(t, s.Init(ctx))
	row := redisLease("a")
	row.Owner = "worker"
	require.NoError(t, s.Create(ctx, row))

	sentinel := closed(t, sdk.NewSentinelClient(&sdk.Options{Addr: sentinels[0]}))
	master := func() string {
		address, err := sentinel.GetMasterAddrByName(ctx, "kcl").Result()
		if err != nil || len(address) != 2 {
			return ""
		}
		return address[0] + ":" + address[1]
	}
	before := master()
	require.NotEmpty(t, before)

	direct := closed(t, sdk.NewClient(&sdk.Options{Addr: before, MaxRetries: -1})) // or the new master would be stopped too
	accepted, failures, back, stopped := int64(0), 0, 0, false
	until(ctx, t, func() string {
		return fmt.Sprintf("master %s (before %s), %d writes accepted, %d failed", master(), before, accepted, failures)
	}, func() bool {
		to := row
		to.Counter++
		err := s.Update(ctx, leases.Update{Read: row, Expect: leases.AttrOwner | leases.AttrCounter, To: to, Set: leases.AttrCounter})
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
			_ = direct.Do(ctx, "SHUTDOWN", "NOSAVE").Err() // the connection breaks
		}
		now := master()
		return stopped && accepted >= 20 && now != "" && now != before
	})
	t.Logf("%d writes failed; the row went back %d times", failures, back)
	got, err := s.Get(ctx, "a")
	require.NoError(t, err)
	require.True(t, row.Same(leases.AttrAll, got))

	// The stopped server comes back as a replica: then the next failover is possible.
	until(ctx, t, func() string { return "the stopped server has not come back as a replica" }, func() bool {
		info, err := client.Info(ctx, "replication").Result()
		return err == nil && strings.Contains(info, "state=online")
	})
}
