package sim

import (
	"context"
	"net"
	"testing"

	"github.com/alicebob/miniredis/v2"
	sdk "github.com/redis/go-redis/v9"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/redis"
)

// redisStore returns a store over a Redis of this process. All workers share its client, because
// their faults happen in front of the store.
func redisStore(t *testing.T) leases.Store {
	srv := miniredis.NewMiniRedis()
	t.Cleanup(srv.Close)
	client := sdk.NewClient(&sdk.Options{
		Addr:   "127.0.0.1:6379", // needs no name server
		Dialer: func(context.Context, string, string) (net.Conn, error) { return srv.Dial() },
	})
	t.Cleanup(func() { _ = client.Close() }) // nothing else can fail here
	return redis.New(redis.Config{Client: client, Application: application})
}
