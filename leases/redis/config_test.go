package redis_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	sdk "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/redis"
)

func closing[C io.Closer](t *testing.T, c C) C {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestValidate(t *testing.T) {
	t.Parallel()
	client := closing(t, sdk.NewClient(&sdk.Options{}))
	good := redis.Config{Client: client, Application: "orders"}
	require.NoError(t, good.Validate())
	for name, tt := range map[string]struct {
		change func(*redis.Config)
		want   []string
	}{
		"nothing": {func(c *redis.Config) { *c = redis.Config{} }, []string{
			"Config.Client is missing", `Config.Application is ""`,
		}},
		"braces": {func(c *redis.Config) { c.Application, c.KeyPrefix = "{orders}", "{kcl}" }, []string{
			`Config.Application is "{orders}"`, `Config.KeyPrefix is "{kcl}"`,
		}},
		"long names": {func(c *redis.Config) {
			c.Application, c.KeyPrefix = strings.Repeat("a",
				256), strings.Repeat("a", 256)
		}, []string{"Config.Application", "Config.KeyPrefix"}},
		"space and control": {func(c *redis.Config) { c.Application, c.KeyPrefix = "a b", "a\n" }, []string{
			`"a b"`, `"a\n"`,
		}},
		"negative timeout": {func(c *redis.Config) { c.RequestTimeout = -1 }, []string{"Config.RequestTimeout is -1ns"}},
		"ring": {func(c *redis.Config) {
			c.Client = closing(t, sdk.NewRing(&sdk.RingOptions{
				Addrs: map[string]string{"a": "127.0.0.1:1"}, HeartbeatFrequency: time.Hour,
			}))
		}, []string{"Config.Client is a Ring"}},
		"no limit": {func(c *redis.Config) { c.Client = closing(t, sdk.NewClient(&sdk.Options{ReadTimeout: -1})) }, []string{
			"waits for answers without a limit",
		}},
		"no limit in a cluster": {func(c *redis.Config) {
			c.Client = closing(t, sdk.NewClusterClient(&sdk.ClusterOptions{ReadTimeout: -1}))
		}, []string{"waits for answers without a limit"}},
	} {
		cfg := good
		tt.change(&cfg)
		err := cfg.Validate()
		require.Error(t, err, name)
		for _, want := range tt.want {
			require.ErrorContains(t, err, want, name)
		}
		require.ErrorContains(t, redis.New(cfg).Init(t.Context()), "leases/redis: "+strings.Split(err.Error(), "\n")[0], name)
	}
	for name, client := range map[string]sdk.UniversalClient{
		"sentinels": closing(t, sdk.NewFailoverClient(&sdk.FailoverOptions{
			MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"},
		})),
		"cluster":          closing(t, sdk.NewClusterClient(&sdk.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})),
		"limit by context": closing(t, sdk.NewClient(&sdk.Options{ReadTimeout: -1, ContextTimeoutEnabled: true})),
	} {
		cfg := good
		cfg.Client = client
		require.NoError(t, cfg.Validate(), name)
	}
}

// TestNoSecrets: neither Config nor Store nor an error shows the password.
func TestNoSecrets(t *testing.T) {
	t.Parallel()
	srv := miniredis.NewMiniRedis()
	t.Cleanup(srv.Close)
	srv.RequireUserAuth("orders", "right")
	client := clientOf(t, srv, func(o *sdk.Options) { o.Username, o.Password = "orders", "hunter2secret" })
	cfg := redis.Config{Client: client, Application: application}
	s := redis.New(cfg)
	err := s.Init(t.Context())
	require.ErrorIs(t, err, kcl.ErrAccessDenied)

	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "cfg", cfg, "store", s, "err", err)
	}
	b, jsonErr := json.Marshal(map[string]any{"store": s})
	require.NoError(t, jsonErr)
	shown := log.String() + string(b)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		shown += fmt.Sprintf(verb+verb+verb+verb+verb, cfg, &cfg, s, err, struct{ C redis.Config }{cfg})
	}
	require.NotContains(t, shown, "hunter2")
	require.Contains(t, shown, `leases/redis.Config{Application: "orders", KeyPrefix: "", RequestTimeout: 0s}`)

	right := clientOf(t, srv, func(o *sdk.Options) { o.Username, o.Password = "orders", "right" })
	require.NoError(t, storeOn(t, srv, func(c *redis.Config) { c.Client = right }).Init(t.Context()))
}

// TestStoreLogsToTheLoggerOfItsCaller: a logger of the store comes first.
func TestStoreLogsToTheLoggerOfItsCaller(t *testing.T) {
	t.Parallel()
	var caller, own strings.Builder
	ctx := leases.WithLogger(t.Context(), slog.New(slog.NewTextHandler(&caller, nil)))
	srv, s := serve(t, func(c *redis.Config) { c.Logger = nil })
	require.NoError(t, s.Init(ctx))
	require.Contains(t, caller.String(), `msg="lease table created" table=kcl:{orders}`)

	srv.FlushAll()
	logger := slog.New(slog.NewTextHandler(&own, nil))
	require.NoError(t, storeOn(t, srv, func(c *redis.Config) { c.Logger = logger }).Init(ctx))
	require.Contains(t, own.String(), "lease table created")
	require.Equal(t, 1, strings.Count(caller.String(), "\n"))
}
