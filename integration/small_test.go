package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/scheduler"
)

// Small servers are how many users meet this library. They differ from AWS where it does no
// harm: kinesalite knows streams by their names only, MiniStack pads its sequence numbers.
// They need no lease table beside them, so that they are tested in seconds.

func TestKinesalite(t *testing.T) {
	t.Parallel()
	store := memory.New()
	runFleetOn(t, scheduler.Polling, kinesisClient(endpoint(t, "KCL_KINESALITE_URL")), unique("app"), store)
	listing, err := store.List(t.Context())
	require.NoError(t, err)
	require.Len(t, listing.Leases, 7, "four shards, two of a split, one of a merge")
}

// moto puts the records of a shard that is split or merged into its children again, and MiniStack
// throws shard and records away: there is nothing to follow.

func TestMoto(t *testing.T) {
	t.Parallel()
	runHandOver(t, "KCL_MOTO_URL", scheduler.Polling)
}

func TestMiniStack(t *testing.T) {
	t.Parallel()
	for _, mode := range []scheduler.RetrievalMode{scheduler.EFO, scheduler.Polling} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			runHandOver(t, "KCL_MINISTACK_URL", mode)
		})
	}
}

// runHandOver reads a stream with two workers, one of which stops, and goes on after all have
// stopped: each record comes once, from the checkpoint on.
func runHandOver(t *testing.T, variable string, mode scheduler.RetrievalMode) {
	ctx, client := within(t, time.Minute), kinesisClient(endpoint(t, variable))
	stream, l := createStream(ctx, t, client, 4), newLedger()
	cfg := scheduler.Config{
		Application: unique("app"), Streams: []scheduler.StreamConfig{{Name: stream}},
		Kinesis: client, Leases: memory.New(), RetrievalMode: mode,
		FailoverTime: 4 * time.Second, Logger: logger(t),
	}
	const keys = 16
	l.produce(ctx, t, client, stream, keys, 3)
	first := startWorker(ctx, cfg, "first", l)
	second := startWorker(ctx, cfg, "second", l)
	until(ctx, t, l.String, func() bool {
		l.produce(ctx, t, client, stream, keys, 1)
		return l.recordsOf("first") > 0 && l.recordsOf("second") > 0
	})
	l.settled(ctx, t)
	require.NoError(t, first.scheduler.Healthy())
	first.stop(ctx, t)
	l.produce(ctx, t, client, stream, keys, 5)
	l.settled(ctx, t)
	require.NoError(t, second.scheduler.Healthy())
	second.stop(ctx, t)
	l.produce(ctx, t, client, stream, keys, 5)
	third := startWorker(ctx, cfg, "third", l)
	l.settled(ctx, t)
	for _, shard := range third.scheduler.Status().Streams[0].Shards {
		require.Equal(t, mode, shard.Mode, shard.ShardID)
	}
	third.stop(ctx, t)
	_, _, duplicates := l.counts()
	require.Zero(t, duplicates, "hand-overs were graceful")
	t.Log(l)
}
