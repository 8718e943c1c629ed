package integration

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMultiLangMixedFleet has our daemon and the Java daemon on one table, with the same client: a
// rolling change. Both take their share. Each is killed, and the other takes over.
func TestMultiLangMixedFleet(t *testing.T) {
	t.Parallel()
	ctx := within(t, 20*time.Minute) // other tests may run Java workers, too many for this one
	w := newMultiLang(ctx, t, clientNamed(t, "goguardian"), "POLLING", 4)
	ours := w.run(ctx, t, "g1", multilangd)
	w.awaitAll(ctx, t, 30*time.Second, 4, "g1")
	java := w.run(ctx, t, "j1", java3)
	w.awaitAll(ctx, t, 3*time.Minute, 1, "g1", "j1")
	w.settled(ctx, t, 30*time.Second)

	require.Equal(t, -1, ours.stop(ctx, t, syscall.SIGKILL))
	w.step(t, "g1 killed")
	w.awaitAll(ctx, t, 90*time.Second, 4, "j1")
	ours.start(t)
	w.awaitAll(ctx, t, 3*time.Minute, 1, "g1", "j1")
	require.Equal(t, -1, java.stop(ctx, t, syscall.SIGKILL))
	w.step(t, "j1 killed")
	w.awaitAll(ctx, t, 60*time.Second, 4, "g1")

	w.settled(ctx, t, 30*time.Second)
	require.Equal(t, 0, ours.stop(ctx, t, syscall.SIGTERM))
	w.step(t, "g1 stopped")
}

func clientNamed(t *testing.T, name string) client {
	t.Helper()
	for _, c := range clients {
		if c.name == name {
			return c
		}
	}
	require.FailNow(t, "no client "+name)
	return client{}
}
