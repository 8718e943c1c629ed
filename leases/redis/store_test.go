package redis_test

import (
	"log/slog"
	"testing"

	"github.com/alicebob/miniredis/v2"
	sdk "github.com/redis/go-redis/v9"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasetest"
	"github.com/kinesis-go/kcl/leases/redis"
)

const application = "orders"

// serve starts a Redis in this process and returns it with a store on it.
func serve(t *testing.T, change ...func(*redis.Config)) (*miniredis.Miniredis, *redis.Store) {
	t.Helper()
	srv := miniredis.RunT(t)
	return srv, storeOn(t, srv, change...)
}

func storeOn(t *testing.T, srv *miniredis.Miniredis, change ...func(*redis.Config)) *redis.Store {
	t.Helper()
	cfg := redis.Config{Client: clientOf(t, &sdk.Options{Addr: srv.Addr()}), Application: application, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, c := range change {
		c(&cfg)
	}
	return redis.New(cfg)
}

func clientOf(t *testing.T, o *sdk.Options) *sdk.Client {
	t.Helper()
	client := sdk.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestLeaseStore(t *testing.T) {
	t.Parallel()
	leasetest.TestStore(t, func(t *testing.T) leases.Store {
		_, s := serve(t)
		return s
	})
}
