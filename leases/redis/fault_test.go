package redis_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	sdk "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/redis"
)

func (silence) Printf(context.Context, string, ...any) {}

// TestRepeatedWrites: the client sends a write again after its answer was lost. The repetition is
// accepted, and is no conflict.
func TestRepeatedWrites(t *testing.T) {
	t.Parallel()
	srv, other := serve(t)
	client := clientOf(t, srv)
	client.AddHook(&recorder{double: true})
	s := storeOn(t, srv, func(c *redis.Config) { c.Client = client })
	require.NoError(t, s.Init(t.Context()))
	require.NoError(t, s.Create(t.Context(), lease("a")))
	row := lease("a")
	for range 3 {
		to := row
		to.Counter, to.Owner = row.Counter+1, "w"
		require.NoError(t, s.Update(t.Context(), leases.Update{
			Read: row, Expect: leases.AttrCounter | leases.AttrOwner, To: to, Set: leases.AttrCounter | leases.AttrOwner,
		}))
		row = to
	}
	got, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, row, got, "once each")

	// The same write by another call is a conflict.
	var conflict *leases.ConflictError
	require.ErrorAs(t, other.Create(t.Context(), lease("a")), &conflict)
	require.ErrorAs(t,
		other.Update(t.Context(), leases.Update{
			Read: lease("a"), Expect: leases.AttrCounter, To: row, Set: leases.AttrCounter,
		}),
		&conflict)
	require.NoError(t, s.Delete(t.Context(), row, leases.AttrAll))
	_, err = s.Get(t.Context(), "a")
	require.ErrorIs(t, err, leases.ErrNotFound)
}

// TestScriptsAreSentAgain: a server that has lost its scripts gets them again.
func TestScriptsAreSentAgain(t *testing.T) {
	t.Parallel()
	srv := miniredis.NewMiniRedis()
	t.Cleanup(srv.Close)
	client := clientOf(t, srv)
	seen := &recorder{}
	client.AddHook(seen)
	s := storeOn(t, srv, func(c *redis.Config) { c.Client = client })
	require.NoError(t, s.Init(t.Context()))
	for range 2 {
		seen.reset()
		for range 3 {
			_, err := s.List(t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, map[string]int{"evalsha": 3, "eval": 1}, seen.counts())
		require.NoError(t, client.ScriptFlush(t.Context()).Err())
	}
}

// TestSilentServer: a call to a server that never answers ends at its RequestTimeout, or when the
// caller's context ends. The client's own limits do not matter.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var conns []net.Conn
		client := sdk.NewClient(&sdk.Options{
			Addr: noLookup, ReadTimeout: time.Minute, MaxRetries: 5,
			Dialer: func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				conns = append(conns, far)
				go func() { // ends when far is closed
					for b := make([]byte, 512); ; {
						if _, err := far.Read(b); err != nil {
							return
						}
					}
				}()
				return near, nil
			},
		})
		defer func() {
			_ = client.Close()
			for _, c := range conns {
				_ = c.Close()
			}
		}()
		s := redis.New(redis.Config{
			Client: client, Application: application, RequestTimeout: 2 * time.Second, Logger: slog.New(slog.DiscardHandler),
		})
		start := time.Now()
		_, err := s.Get(t.Context(), "a")
		require.Equal(t, 2*time.Second, time.Since(start))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "get in kcl:{orders}:table: no answer in time after 2s")

		start = time.Now()
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(kcl.ErrLeaseLost) })
		err = s.Update(ctx, leases.Update{Read: lease("a"), To: lease("a"), Set: leases.AttrAll})
		require.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, err, kcl.ErrLeaseLost)

		start = time.Now()
		_, err = s.List(ctx)
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, err, kcl.ErrLeaseLost)
	})
}

// TestErrors: an error of Redis names the call, the table and a remedy.
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer string
		is     error
		want   string
	}{
		{
			"NOPERM User x has no permissions to run the 'hset' command script: 1", kcl.ErrAccessDenied,
			"lists the commands and keys that a user needs",
		},
		{
			"ERR Error running script (call to f_1): @user_script:12: @user_script: 12: -NOPERM this user has no permissions " +
				"to run the 'hset' command",
			kcl.ErrAccessDenied, "get in kcl:{orders}:table",
		},
		{
			"ERR Error running script: The user executing the script can't run this command or subcommand",
			kcl.ErrAccessDenied, "",
		},
		{
			"ERR ACL failure in script: User x has no permissions to run the 'hset' command script: on @user_script:27.",
			kcl.ErrAccessDenied, "",
		},
		{"NOAUTH Authentication required.", kcl.ErrAccessDenied, ""},
		{"WRONGPASS invalid username-password pair or user is disabled.", kcl.ErrAccessDenied, ""},
		{"OOM command not allowed when used memory > 'maxmemory'.", nil, "Redis is at maxmemory"},
		{"ERR unknown command 'evalsha', with args beginning with: 'secret' ", nil, "Redis 6 or later is needed"},
	} {
		srv, s := serve(t)
		require.NoError(t, s.Init(t.Context()))
		srv.SetError(tt.answer)
		_, err := s.Get(t.Context(), "a")
		require.ErrorContains(t, err, tt.want)
		require.NotContains(t, err.Error(), "secret")
		if tt.is != nil {
			require.ErrorIs(t, err, tt.is)
		} else {
			require.NotErrorIs(t, err, kcl.ErrAccessDenied)
		}
		srv.SetError("")
		_, err = s.Get(t.Context(), "a")
		require.ErrorIs(t, err, leases.ErrNotFound)
	}
}
