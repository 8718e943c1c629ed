package redis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/redis"
)

// A table in a Redis of this process. An application gives the store to the scheduler, which calls
// it.
func Example() {
	ctx := context.Background()
	server := miniredis.NewMiniRedis()
	defer server.Close()
	client := goredis.NewClient(&goredis.Options{
		Dialer: func(context.Context, string, string) (net.Conn, error) { return server.Dial() }, // in production: Addr
	})
	defer func() { _ = client.Close() }()

	store := redis.New(redis.Config{Client: client, Application: "orders"})
	if err := store.Init(ctx); err != nil {
		fmt.Println(err)
		return
	}
	lease := leases.Lease{
		Key: "shardId-000000000000", ShardID: "shardId-000000000000", ThroughputKBps: -1,
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
	}
	fmt.Println("created:", store.Create(ctx, lease))

	mine := lease
	mine.Owner, mine.Counter = "worker-1", 1
	take := leases.Update{
		Read: lease, Expect: leases.AttrOwner | leases.AttrCounter, To: mine, Set: leases.AttrOwner | leases.AttrCounter,
	}
	fmt.Println("taken:", store.Update(ctx, take))
	mine.Owner = "worker-2"
	take.To = mine
	conflict, _ := errors.AsType[*leases.ConflictError](store.Update(ctx, take))
	fmt.Println("held by:", conflict.Current.Owner)
	// Output:
	// created: <nil>
	// taken: <nil>
	// held by: worker-1
}

// One server, with a user of few rights and a verified connection.
func ExampleNew() {
	client := goredis.NewClient(&goredis.Options{
		Addr:      "redis.example.com:6380",
		Username:  "orders",
		Password:  os.Getenv("REDIS_PASSWORD"),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12}, // RootCAs where the authority is your own
	})
	defer func() { _ = client.Close() }()
	store := redis.New(redis.Config{Client: client, Application: "orders"})
	fmt.Println(store)
	// Output: leases/redis table kcl:{orders}:table
}

// A master and replicas behind sentinels. The sentinels may need a user and a password of their
// own.
func ExampleNew_sentinel() {
	client := goredis.NewFailoverClient(&goredis.FailoverOptions{
		MasterName:       "kcl",
		SentinelAddrs:    []string{"sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"},
		SentinelPassword: os.Getenv("SENTINEL_PASSWORD"),
		Username:         "orders",
		Password:         os.Getenv("REDIS_PASSWORD"),
	})
	defer func() { _ = client.Close() }()
	cfg := redis.Config{Client: client, Application: "orders"}
	fmt.Println(cfg.Validate())
	// Output: <nil>
}

// A cluster. The keys of one application are in one slot. The keys of several applications are
// spread over the nodes.
func ExampleNew_cluster() {
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs:    []string{"node-1:6379", "node-2:6379", "node-3:6379"},
		Username: "orders",
		Password: os.Getenv("REDIS_PASSWORD"),
	})
	defer func() { _ = client.Close() }()
	cfg := redis.Config{Client: client, Application: "orders", KeyPrefix: "team-a"}
	fmt.Println(cfg)
	// Output: leases/redis.Config{Application: "orders", KeyPrefix: "team-a", RequestTimeout: 0s}
}
