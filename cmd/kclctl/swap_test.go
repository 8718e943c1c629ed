package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/scheduler"
)

// collector is a processor that sends its records to a channel.
type collector struct {
	shard string
	got   chan<- string
}

func (c *collector) Initialize(context.Context, kcl.InitializeInput) error { return nil }

func (c *collector) ProcessRecords(_ context.Context, in kcl.ProcessRecordsInput) error {
	for _, r := range in.Records {
		c.got <- c.shard + " " + r.SequenceNumber()
	}
	return nil
}
func (c *collector) LeaseLost(context.Context, kcl.LeaseLostInput)         {}
func (c *collector) ShardEnded(context.Context, kcl.ShardEndedInput) error { return nil }

func (c *collector) ShutdownRequested(context.Context, kcl.ShutdownRequestedInput) error { return nil }

// TestSwapInPlace imports the table of an old fleet that was stopped in the middle of its stream.
// Workers of this library then read the records after its checkpoints: none twice, and none left
// out.
func TestSwapInPlace(t *testing.T) {
	for name, asked := range map[string]bool{"asking Kinesis": true, "by the rows alone": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			srv := kinesisFor(t, table) // shard 0 was split into 2 and 3
			var want []string
			const records, done = 10, 4
			checkpoint := map[string]string{}
			for _, shard := range []string{"shardId-000000000001", "shardId-000000000002", "shardId-000000000003"} {
				for i := range records {
					seq, err := srv.PutToShard(table, shard, fmt.Sprint(i), []byte("x"))
					require.NoError(t, err)
					switch {
					case i == done-1 && shard != "shardId-000000000003":
						checkpoint[shard] = seq
					case i >= done || shard == "shardId-000000000003":
						want = append(want, shard+" "+seq)
					}
				}
			}
			// Shard 0 is finished. Shard 3 was never taken, so it has no row.
			r.makeOld(old,
				oldRow("shardId-000000000000", "Checkpoint", "SHARD_END"),
				oldRow("shardId-000000000001", "Checkpoint", checkpoint["shardId-000000000001"]),
				oldRow("shardId-000000000002", "Checkpoint", checkpoint["shardId-000000000002"], "ParentShardId",
					"shardId-000000000000"),
			)
			args := []string{"import", "-from", old, "-yes"}
			if asked {
				args = append(args, "-stream", table, "-kinesis-endpoint", srv.URL())
			}
			imported := r.leases(args...)
			require.Equal(t, statusOK, imported.status, imported.errors)

			got := make(chan string)
			s := scheduler.New(scheduler.Config{
				Application: table, Leases: r.store, Kinesis: awstest.Kinesis(t, srv), RetrievalMode: scheduler.Polling,
				Streams:            []scheduler.StreamConfig{{Name: table, InitialPosition: kcl.InitialPosition{Kind: kcl.Latest}}},
				CheckpointInterval: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
			}, func(_ kcl.StreamIdentifier, shard kcl.Shard) kcl.Processor { return &collector{shard.ID, got} })
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = s.Run(ctx); close(got) }) // ends with ctx
			defer wg.Wait()
			defer stop()
			var all []string
			for len(all) < len(want) {
				one, ok := <-got
				require.True(t, ok, "the worker stopped: %v", s.Healthy())
				all = append(all, one)
			}
			stop()
			for one := range got {
				all = append(all, one)
			}
			require.ElementsMatch(t, want, all)

			// The way back: after the export the old library has no record to read.
			exported := r.leases("export", "-to", "orders-back", "-yes")
			require.Equal(t, statusOK, exported.status, exported.errors)
			require.Contains(t, r.srv.Items("orders-back"),
				oldRow("shardId-000000000003", "ParentShardId", "shardId-000000000000",
					"Checkpoint", strings.Fields(want[len(want)-1])[1]))
		})
	}
}
