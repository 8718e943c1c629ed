package multilang

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
	"github.com/kinesis-go/kcl/scheduler"
)

// TestM04DeathOfAnIdleChild: a child that dies while its shard has no records is replaced without
// waiting for a record. The next child gets what the dead one has not checkpointed.
func TestM04DeathOfAnIdleChild(t *testing.T) {
	for name, mode := range map[string]scheduler.RetrievalMode{"polling": scheduler.Polling, "fan-out": scheduler.EFO} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var batches atomic.Int32
				b := newBench(t, CommandConfig{}, func(f *fakeChild) {
					f.answer(f.next().Action)
					f.answer(f.next().Action) // a record, without a checkpoint
					batches.Add(1)
					time.Sleep(time.Minute)
					f.exit("exit status 9")
				}, func(f *fakeChild) {
					f.answer(f.next().Action)
					f.answer(f.next().Action)
					batches.Add(1)
					good(f)
				})
				failures := make(chan error, 10)
				b.cfg.OnFailure = func(_ kcl.StreamIdentifier, _ kcl.Shard, err error) { failures <- err }
				srv := kinesistest.New(t, kinesistest.Config{
					Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 1}},
				})
				s := scheduler.New(scheduler.Config{
					Application: "app", Streams: []scheduler.StreamConfig{{Name: "orders"}}, Kinesis: awstest.Kinesis(t, srv),
					Leases: memory.New(), Logger: b.cfg.Logger, RetrievalMode: mode, DisableWorkerMetrics: true,
				}, b.NewProcessor)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- s.Run(ctx) }() // ends with ctx
				_, err := srv.PutToShard("orders", srv.Shards("orders")[0].ID, "key", []byte("data"))
				require.NoError(t, err)
				time.Sleep(50 * time.Second)
				require.EqualValues(t, 1, batches.Load())
				require.Empty(t, failures)
				time.Sleep(time.Minute)
				require.ErrorContains(t, <-failures, "the child ended with exit status 9")
				require.EqualValues(t, 2, batches.Load(), "the record came again")
				require.Equal(t, Stats{Children: 1, Starts: 2, EndedEarly: 1}, b.Stats())
				require.NoError(t, s.Healthy())
				cancel()
				require.NoError(t, <-done)
				b.gone()
			})
		})
	}
}

// TestM04HangIsRed: without a time-out a child that hangs is not stopped. Healthy reports its
// shard. The other shard goes on. With a time-out another child takes over.
func TestM04HangIsRed(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"without a time-out": 0, "with a time-out": time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var hanging atomic.Pointer[string]
				b := newBench(t, CommandConfig{Timeout: timeout}, func(f *fakeChild) {
					shard := ""
					for {
						m := f.next()
						if m.Action == protocol.Initialize {
							shard = m.ShardID
						}
						if m.Action == protocol.ProcessRecords {
							if hanging.CompareAndSwap(nil, &shard) {
								f.hang()
							}
							f.checkpoint()
						}
						f.answer(m.Action)
					}
				})
				b.cfg.OnFailure = nil
				srv := kinesistest.New(t, kinesistest.Config{
					Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 2}},
				})
				s := scheduler.New(scheduler.Config{
					Application: "app", Streams: []scheduler.StreamConfig{{Name: "orders"}}, Kinesis: awstest.Kinesis(t, srv),
					Leases: memory.New(), Logger: b.cfg.Logger, DisableWorkerMetrics: true,
				}, b.NewProcessor)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- s.Run(ctx) }() // ends with ctx
				for range 10 {
					for _, shard := range srv.Shards("orders") {
						_, err := srv.PutToShard("orders", shard.ID, "key", []byte("data"))
						require.NoError(t, err)
					}
					time.Sleep(30 * time.Second)
				}
				hung := *hanging.Load()
				for _, shard := range s.Status().Streams[0].Shards {
					if shard.ShardID == hung && timeout == 0 {
						require.Zero(t, shard.Records)
					} else {
						require.EqualValues(t, 10, shard.Records, shard.ShardID)
					}
				}
				if timeout == 0 {
					var stalled *scheduler.StallError
					require.ErrorAs(t, s.Healthy(), &stalled)
					require.Equal(t, hung, stalled.ShardID)
					require.EqualValues(t, 2, b.Stats().Starts)
				} else {
					require.NoError(t, s.Healthy())
					require.EqualValues(t, 3, b.Stats().Starts)
					require.EqualValues(t, 1, b.Stats().TooLate)
				}
				cancel()
				require.NoError(t, <-done)
				b.gone()
			})
		})
	}
}
