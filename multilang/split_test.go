package multilang_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/multilang"
	"github.com/kinesis-go/kcl/scheduler"
)

// TestSplitWithRealChildren: a scheduler, with a real process on Serve for each shard, reads a
// stream through a split. The children print at least as much as they say.
func TestSplitWithRealChildren(t *testing.T) {
	t.Parallel()
	printed := make(chan string, 1000)
	log := slog.New(slog.NewTextHandler(lineFunc(func(line string) {
		t.Log(line)
		printed <- line
	}), nil))
	command, err := multilang.NewCommand(multilang.CommandConfig{Args: []string{buildChild(t)}, Logger: log})
	require.NoError(t, err)
	defer command.Close()
	srv := kinesistest.New(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 1}}})
	store := memory.New()
	s := scheduler.New(scheduler.Config{
		Application: "app", Streams: []scheduler.StreamConfig{{Name: "orders"}}, Kinesis: awstest.Kinesis(t, srv),
		Leases: store, Logger: slog.New(slog.DiscardHandler), DisableWorkerMetrics: true,
	}, command.NewProcessor)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }() // ends with ctx

	put := func(shard, text string) string {
		number, err := srv.PutToShard("orders", shard, "key", []byte(text))
		require.NoError(t, err)
		deadline := time.After(time.Minute)
		for {
			select {
			case line := <-printed:
				if strings.Contains(line, text) {
					return number
				}
			case <-deadline:
				require.FailNow(t, "no child has printed "+text)
			}
		}
	}
	parent := srv.Shards("orders")[0].ID
	put(parent, "first-record")
	low, high, err := srv.SplitShard("orders", parent)
	require.NoError(t, err)
	last := map[string]string{parent: "SHARD_END", low: put(low, "second-record"), high: put(high, "third-record")}
	cancel()
	require.NoError(t, <-done)
	rows, err := store.List(t.Context())
	require.NoError(t, err)
	got := map[string]string{}
	for _, row := range rows.Leases {
		got[row.ShardID] = row.Checkpoint.SequenceNumber
	}
	require.Equal(t, last, got, "the children have checkpointed all")
	// Each child prints one line before it calls Serve. No other line came to the daemon.
	require.Equal(t, multilang.Stats{Starts: 3, NoiseLines: 3}, command.Stats())
}

type lineFunc func(line string)

func (f lineFunc) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}
