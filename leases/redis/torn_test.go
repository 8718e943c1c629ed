package redis_test

import (
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/redis"
)

// TestARightIsLostInTheMiddleOfAScript: Redis does not undo the commands of a script that fails. A
// write that failed must change nothing. Otherwise its mark would make half a write look like a
// whole one.
func TestARightIsLostInTheMiddleOfAScript(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(*testing.T, *redis.Store) error{
		"create": func(t *testing.T, s *redis.Store) error { return s.Create(t.Context(), everything("new")) },
		"create of a row that lost its place in the index": func(t *testing.T, s *redis.Store) error {
			return s.Create(t.Context(), everything("unlisted"))
		},
		"update": func(t *testing.T, s *redis.Store) error {
			to := everything("row")
			to.Owner, to.Counter = "", to.Counter+1
			return s.Update(t.Context(), leases.Update{
				Read: everything("row"), Expect: leases.AttrCounter, To: to, Set: leases.AttrCounter | leases.AttrOwner,
			})
		},
		"update of a row that lost its place in the index": func(t *testing.T, s *redis.Store) error {
			to := everything("unlisted")
			to.Owner, to.Counter = "", to.Counter+1
			return s.Update(t.Context(), leases.Update{
				Read: everything("unlisted"), Expect: leases.AttrCounter, To: to, Set: leases.AttrCounter | leases.AttrOwner,
			})
		},
		"delete": func(t *testing.T, s *redis.Store) error {
			return s.Delete(t.Context(), everything("row"), leases.AttrCounter)
		},
	} {
		for _, command := range strings.Fields("TYPE HGET HMGET HGETALL HSET HDEL DEL ZADD ZREM ZSCORE ZRANGEBYLEX") {
			t.Run(name+" without "+command, func(t *testing.T) {
				t.Parallel()
				srv, s := serve(t)
				require.NoError(t, s.Init(t.Context()))
				require.NoError(t, s.Create(t.Context(), everything("row")))
				require.NoError(t, s.Create(t.Context(), everything("unlisted")))
				_, err := srv.ZRem(indexKey, "unlisted")
				require.NoError(t, err)
				before := srv.Dump()
				srv.Server().SetPreHook(deny(command))
				err = write(t, s)
				srv.Server().SetPreHook(nil)
				after := srv.Dump()
				switch {
				case err != nil && strings.HasPrefix(name, "update"):
					// The entry in the index that was made again is no part of the write.
					require.Equal(t, rowOf(before), rowOf(after), "a write that failed has changed a part")
				case err != nil && strings.HasPrefix(name, "create of"):
					require.Equal(t, rowOf(before), rowOf(after))
				case err != nil:
					require.Equal(t, before, after, "a write that failed has changed a part: %v", err)
				default:
					require.NotEqual(t, before, after)
				}
				l, err := s.List(t.Context())
				require.NoError(t, err)
				require.Empty(t, l.Bad)
			})
		}
	}
}

// rowOf returns a dump without the index.
func rowOf(dump string) string {
	from := strings.Index(dump, "- "+indexKey)
	next := strings.Index(dump[from+2:], "\n- ")
	return dump[:from] + dump[from+2+next:]
}

// deny refuses a command, also in scripts.
func deny(command string) server.Hook {
	return func(c *server.Peer, cmd string, _ ...string) bool {
		if cmd == command {
			c.WriteError("NOPERM this user has no permissions to run the '" + strings.ToLower(cmd) + "' command")
		}
		return cmd == command
	}
}
