package redis_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	sdk "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases/redis"
)

// TestInitWaits: Init waits, for a limited time, for a server that loads its data and for a cluster
// without a master. It does not wait after other refusals.
func TestInitWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, s := serve(t)
		for _, answer := range []string{
			"LOADING Redis is loading the dataset in memory", "CLUSTERDOWN The cluster is down",
			"MASTERDOWN Link with MASTER is down",
		} {
			srv.SetError(answer)
			time.AfterFunc(20*time.Second, func() { srv.SetError("") })
			start := time.Now()
			require.NoError(t, s.Init(t.Context()))
			require.GreaterOrEqual(t, time.Since(start), 20*time.Second)
			require.Less(t, time.Since(start), 25*time.Second)
		}
		srv.SetError("LOADING Redis is loading the dataset in memory")
		start := time.Now()
		err := s.Init(t.Context())
		require.ErrorContains(t, err, "LOADING")
		require.ErrorContains(t, err, "no usable Redis after 1m0s")
		require.LessOrEqual(t, time.Since(start), time.Minute)

		srv.SetError("NOAUTH Authentication required.")
		start = time.Now()
		require.ErrorIs(t, s.Init(t.Context()), kcl.ErrAccessDenied)
		require.Less(t, time.Since(start), 10*time.Second, "no more than the client's own attempts")
	})
}

// TestEvictionPolicy: Init warns of a policy that drops rows.
func TestEvictionPolicy(t *testing.T) {
	t.Parallel()
	for policy, warns := range map[string]bool{
		"noeviction": false, "volatile-lru": false, "allkeys-lru": true, "allkeys-random": true,
	} {
		srv := miniredis.NewMiniRedis()
		t.Cleanup(srv.Close)
		client := clientOf(t, srv)
		client.AddHook(infoHook{
			recorder: &recorder{}, answer: "# Memory\r\nused_memory:1\r\nmaxmemory_policy:" + policy + "\r\n",
		})
		var log bytes.Buffer
		s := storeOn(t, srv, func(c *redis.Config) {
			c.Client = client
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		require.NoError(t, s.Init(t.Context()))
		require.Equal(t, warns, bytes.Contains(log.Bytes(), []byte("set maxmemory-policy to noeviction")), policy)
	}
}

// infoHook answers INFO, because the server in this process knows little of it.
type infoHook struct {
	*recorder
	answer string
}

func (h infoHook) ProcessHook(next sdk.ProcessHook) sdk.ProcessHook {
	return func(ctx context.Context, cmd sdk.Cmder) error {
		if info, ok := cmd.(*sdk.StringCmd); ok && cmd.Name() == "info" {
			info.SetVal(h.answer)
			return nil
		}
		return next(ctx, cmd)
	}
}
