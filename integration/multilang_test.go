package integration

import (
	"context"
	"flag"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// daemons chooses the daemons of TestMultiLangClients. Those of Java take half an hour. They are a
// suite of their own: make integration-multilang.
var daemons = flag.String("daemons", multilangd.name,
	"the `names` of the daemons of TestMultiLangClients, with commas between them: multilangd, java3, java2")

// TestMultiLangClients has every client run by each of the daemons, through all faults.
func TestMultiLangClients(t *testing.T) {
	t.Parallel()
	for _, k := range chosenDaemons(t) {
		for _, c := range clients {
			t.Run(k.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				throughFaults(t, c, k)
			})
		}
	}
}

func chosenDaemons(t *testing.T) (chosen []kind) {
	t.Helper()
	for name := range strings.SplitSeq(*daemons, ",") {
		at := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		require.GreaterOrEqual(t, at, 0, "-daemons has no %q", name)
		chosen = append(chosen, kinds[at])
	}
	return chosen
}

// limits of a step. A Java daemon that starts again reads after a minute or three.
func (k kind) limit() time.Duration {
	if k.isJava() {
		return 5 * time.Minute
	}
	return 2 * time.Minute
}

// throughFaults runs a daemon of two shards with one kind of client. A child is killed, a child
// hangs, shards are split and merged, the daemon is killed, and it is ended by SIGTERM and started
// again. Records of 1 MiB and records with keys that are not UTF-8 are among the others. Every
// record must be seen, in order within its key, and none again after its checkpoint.
func throughFaults(t *testing.T, c client, k kind) {
	ctx := within(t, 40*time.Minute)
	w := newMultiLang(ctx, t, c, c.retrieval, 2)
	d := w.run(ctx, t, "d", k)
	w.awaitCaughtUp(ctx, t, k.limit(), "the start")

	w.putLarge(ctx, t)
	w.putAggregates(ctx, t)
	w.awaitCaughtUp(ctx, t, k.limit(), "records of 1 MiB and keys that are not UTF-8")

	begun := w.count("d", "initialize")
	w.signalChild(ctx, t, d, syscall.SIGKILL)
	w.awaitCaughtUp(ctx, t, k.limit(), "a killed child")
	w.signalChild(ctx, t, d, syscall.SIGSTOP)
	w.awaitCaughtUp(ctx, t, k.limit(), "a child that hangs")
	if !k.isJava() {
		require.Equal(t, 1, d.starts, "the failure of a child ended the daemon")
		require.Equal(t, begun+2, w.count("d", "initialize"), "the failure of a child ended another")
	}

	w.awaitReshard(ctx, t, k.limit())

	require.Equal(t, -1, d.stop(ctx, t, syscall.SIGKILL))
	w.awaitNoChildren(ctx, t, d)
	d.start(t)
	w.awaitCaughtUp(ctx, t, k.limit(), "a killed daemon")

	w.stopInOrder(ctx, t, d)
	d.start(t)
	w.awaitCaughtUp(ctx, t, k.limit(), "SIGTERM and a start")
	w.settled(ctx, t, k.limit())
	w.stopInOrder(ctx, t, d)
	require.Empty(t, w.wrong)
}

// awaitReshard splits a shard and merges its children, and waits until all three have ended and the
// last child is read.
func (w *multiLang) awaitReshard(ctx context.Context, t *testing.T, limit time.Duration) {
	t.Helper()
	parents := append([]string{split(ctx, t, w.kinesis, w.streams[0])}, merge(ctx, t, w.kinesis, w.streams[0])...)
	w.step(t, "%v split or merged", parents)
	w.await(ctx, t, limit, "the parents have ended", func() bool {
		for _, parent := range parents {
			if !w.ended(parent) {
				return false
			}
		}
		return true
	})
	w.awaitCaughtUp(ctx, t, limit, "a split and a merge")
}

// awaitNoChildren waits until no child of a daemon that has ended is left. A child that was stopped
// by a signal does not see that its daemon has gone.
func (w *multiLang) awaitNoChildren(ctx context.Context, t *testing.T, d *daemon) {
	t.Helper()
	w.await(ctx, t, 30*time.Second, "no child of "+d.worker+" is left", func() bool {
		return len(d.ledgers.living()) == 0
	})
}

// stopInOrder ends a daemon by SIGTERM. Each child gets the chance to checkpoint.
func (w *multiLang) stopInOrder(ctx context.Context, t *testing.T, d *daemon) {
	t.Helper()
	w.tend()
	asked, lost := w.count(d.worker, "requested"), w.count(d.worker, "lost")
	status := d.stop(ctx, t, syscall.SIGTERM)
	require.Contains(t, map[bool][]int{false: {0}, true: {0, 143}}[d.isJava()], status)
	w.tend()
	require.Equal(t, asked+2, w.count(d.worker, "requested"), "not every child was asked to stop")
	if !w.client.unlost {
		require.Equal(t, lost+2, w.count(d.worker, "lost"), "not every child was told that its lease is gone")
	}
	w.awaitNoChildren(ctx, t, d)
	w.step(t, "%s stopped in order", d.worker)
}

// ended says whether a child has ended the shard.
func (w *multiLang) ended(shard string) bool {
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	for _, e := range w.events {
		if e.kind == "ended" && strings.HasSuffix(e.shard, shard) {
			return true
		}
	}
	return false
}
