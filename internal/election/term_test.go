package election

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// TestLockIsHeldByOne lets a leader die at any moment, and any number of workers read the lock at
// any time. No worker finds it free while the leader still acts as one. Every worker finds it free
// in the end.
func TestLockIsHeldByOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w kcl3.LockWatch
		term := lockTerm{lock: leases.LeaderLock{Owner: "leader", Version: "0", Duration: kcl3.LockDuration}}
		stored := term.lock
		var seen leases.LeaderLock
		now, died := time.Duration(0), time.Duration(-1)
		version := byte('0')
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 12_000).Draw(t, "ms")) * time.Millisecond
			at := trust.Instant{Wall: time.Unix(0, 0).Add(now), Mono: now}
			switch rapid.SampledFrom([]string{"look", "look", "heartbeat", "try", "die"}).Draw(t, "step") {
			case "look":
				w.Observe(&stored, now)
				seen = stored
			case "heartbeat":
				if died < 0 && term.holds(at) && term.due(at) == 0 {
					version++
					stored.Version = string(version)
					term = lockTerm{stored, at}
				}
			case "die":
				if died < 0 {
					died = now
				}
			case "try":
				if w.Free(now) && kcl3.SameHeartbeat(seen, stored) {
					require.False(t, died < 0 && term.holds(at), "two leaders")
				}
			}
		}
		w.Observe(&stored, now)
		require.True(t, w.Free(now+kcl3.LockDuration+1))
	})
}

const sec = time.Second

func TestLockTerm(t *testing.T) {
	t.Parallel()
	start := trust.Instant{Wall: time.Unix(1000, 0)}
	term := lockTerm{leases.LeaderLock{Owner: "me", Version: "1", Duration: 20 * sec}, start}
	after := func(wall, mono time.Duration) trust.Instant {
		return trust.Instant{Wall: start.Wall.Add(wall), Mono: mono}
	}
	require.Equal(t, 5*sec, term.due(start))
	require.Equal(t, sec, term.due(after(4*sec, 4*sec)))
	require.Zero(t, term.due(after(9*sec, 9*sec)))
	require.True(t, term.holds(after(18*sec, 18*sec)))
	require.False(t, term.holds(after(19*sec, 19*sec)), "5 % early")
	require.False(t, term.holds(after(60*sec, sec)), "the machine was suspended")
	require.False(t, term.holds(after(-3600*sec, 60*sec)), "the clock was set back")
}
