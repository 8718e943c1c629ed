package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

// inOtherRegion makes a rig with a fake in another region. Its workers use the same lease table.
func (r *rig) inOtherRegion(cfg kinesistest.Config) *rig {
	r.t.Helper()
	cfg.Region = "eu-west-1"
	other := newRig(r.t, cfg)
	other.store, other.audit = r.store, r.audit
	return other
}

// second is a worker that does not belong to the first one, on the same table.
type second struct {
	name   string
	stream string
	app    string
	region bool
	says   []string // parts of the error that refuses it
}

func seconds() []second {
	return []second{
		{name: "stream", stream: "payments", app: "app", says: []string{
			"belongs to stream " + ordersARN,
			"reads arn:aws:kinesis:us-east-1:000000000000:stream/payments",
		}},
		{
			name: "application", stream: streamName, app: "billing",
			says: []string{
				"belongs to application app, and this is application billing",
				"kclctl leases adopt -application billing",
			},
		},
		{
			name: "region", stream: streamName, app: "app", region: true,
			says: []string{"belongs to stream " + ordersARN, "reads arn:aws:kinesis:eu-west-1:000000000000:stream/orders"},
		},
	}
}

func (s second) worker(r *rig, opts ...func(*scheduler.Config)) *worker {
	if s.region {
		r = r.inOtherRegion(twoStreams())
	}
	return r.worker("b", append([]func(*scheduler.Config){func(c *scheduler.Config) {
		c.Application, c.Streams = s.app, []scheduler.StreamConfig{{Name: s.stream}}
	}}, opts...)...)
}

// twoStreams were created in the same second.
func twoStreams() kinesistest.Config { return someStreams(2, streamName, "payments") }

// The table is another's: the second worker is told whose, and how to get on,
// before it writes anything to the table or registers a consumer.
func TestSecondComerIsRefused(t *testing.T) {
	t.Parallel()
	for _, s := range seconds() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, twoStreams())
				a := r.worker("a", mode).start()
				r.produce(2, time.Second, keys(10))
				r.finished(time.Minute)
				rows := r.rows()
				b := s.worker(r, mode)
				writes, registered := b.counts("create", "update", "delete"), b.r.srv.Calls("RegisterStreamConsumer")
				b.start()
				<-b.done
				require.ErrorIs(t, b.err, leases.ErrForeignTable)
				for _, part := range s.says {
					require.ErrorContains(t, b.err, part)
				}
				require.ErrorContains(t, b.err, "Config.Table")
				require.NotContains(t, b.err.Error(), "delete")
				require.Zero(t, writes.Load())
				require.Equal(t, rows, r.rows())
				require.Equal(t, registered, b.r.srv.Calls("RegisterStreamConsumer"))
				r.put(keys(10)...)
				r.finished(time.Minute)
				require.NoError(t, a.Healthy())
				require.NoError(t, a.stop())
				r.audit.check(0)
			})
		})
	}
}

// Of two that start at once on an empty table one is refused at least, takes no
// lease and leaves no row behind, however their calls come to lie and whatever
// becomes of the answers. The other one may be refused as well, by the row that
// the first one is about to delete. Its own rows stay then, if it had claimed the
// table before.
func TestTwoStartOnAnEmptyTable(t *testing.T) {
	t.Parallel()
	for _, s := range seconds() {
		for _, variant := range []string{"same first shard", "other first shard"} {
			t.Run(s.name+"/"+variant, func(t *testing.T) {
				t.Parallel()
				for seed := range testsize.Pick[uint64](1, 2, 8) {
					for _, late := range testsize.Pick([]bool{variant == "same first shard"}, []bool{false, true},
						[]bool{false, true}) {
						synctest.Test(t, func(t *testing.T) { startTogether(t, s, variant == "other first shard", late, seed) })
						if t.Failed() {
							t.Fatalf("seed %d, late %t", seed, late)
						}
					}
				}
			})
		}
	}
}

func startTogether(t *testing.T, s second, otherShard, late bool, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	r := newRig(t, twoStreams())
	r.capture()
	latest := func(c *scheduler.Config) {
		c.RetrievalMode = scheduler.Polling
		if otherShard {
			c.Streams[0].InitialPosition = kcl.InitialPosition{Kind: kcl.Latest}
		}
	}
	a := r.worker("a", latest)
	b := s.worker(r, latest)
	if otherShard && s.name != "application" { // the first shard of b's stream is closed
		_, err := b.r.admin.SplitShard(t.Context(), &kinesis.SplitShardInput{
			StreamName:   &s.stream,
			ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("1000"),
		})
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
	}
	var workers []*worker
	for i, w := range []*worker{a, b} {
		w.faults.SetFault(shaky(rand.New(rand.NewPCG(seed, uint64(i))), late))
		workers = append(workers, w)
	}
	for _, i := range rng.Perm(2) {
		workers[i].start()
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
	}
	owners := map[string]bool{}
	for range 180 {
		time.Sleep(time.Second)
		for _, l := range r.table() {
			owners[l.ActualOwner()] = true
		}
	}
	refused, without := 0, 0
	for _, w := range workers {
		if !isDone(w) {
			continue
		}
		refused++
		require.ErrorIs(t, w.err, leases.ErrForeignTable)
		if !owners[w.Status().Worker] {
			without++
		}
	}
	require.NotZero(t, refused, "both run on one table\n%s", r.dump())
	if late { // a row that lands late shows itself only when the other one runs already
		return
	}
	require.NotZero(t, without, "who is refused had a lease\n%s", r.dump())
	marks := map[string]bool{}
	for _, l := range r.table() {
		marks[l.Application+" "+l.StreamARN] = true
	}
	require.LessOrEqual(t, len(marks), 1, "the first one that was refused left rows behind: %v", marks)
}

// The same on DynamoDB.
func TestTwoStartOnAnEmptyDynamoDBTable(t *testing.T) {
	t.Parallel()
	for _, s := range seconds() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, twoStreams())
				r.capture()
				ddb := dynamotest.Start(dynamotest.Config{})
				t.Cleanup(ddb.Close)
				on := func(name string) func(*scheduler.Config) {
					return func(c *scheduler.Config) {
						c.RetrievalMode = scheduler.Polling
						c.Leases = dynamodb.New(dynamodb.Config{Client: awstest.DynamoDBFrom(t, ddb, name), Table: "app", Logger: r.log})
					}
				}
				a, b := r.worker("a", on("a")).start(), s.worker(r, on("b")).start()
				time.Sleep(time.Minute)
				refused := map[string]error{}
				for _, w := range []*worker{a, b} {
					if isDone(w) {
						refused[w.name] = w.err
						require.ErrorIs(t, w.err, leases.ErrForeignTable)
					}
				}
				require.NotEmpty(t, refused)
				marks := map[string]bool{}
				for _, item := range ddb.Items("app") {
					marks[item["goApp"].Text+" "+item["goStream"].Text] = true
				}
				require.Len(t, marks, 2-len(refused))
			})
		})
	}
}

// shaky is a table whose calls take their time, and of which one in eight answers
// is lost. When late, some writes of those take effect only when the caller has
// gone.
func shaky(rng *rand.Rand, late bool) leasefault.Fault {
	var mu sync.Mutex // guards rng
	draw := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
	began := time.Now()
	lost := fmt.Errorf("the answer is lost: %w", context.DeadlineExceeded)
	return func(ctx context.Context, call leasefault.Call, apply func() error) error {
		time.Sleep(time.Duration(draw(300)) * time.Millisecond)
		if time.Since(began) < time.Minute && draw(8) == 0 {
			if late && draw(2) == 0 && (call.Op == "create" || call.Op == "delete") {
				go func() { // ends once it has landed
					time.Sleep(time.Duration(draw(20_000)) * time.Millisecond)
					_ = apply()
				}()
			} else {
				_ = apply()
			}
			return lost
		}
		err := apply()
		time.Sleep(time.Duration(draw(300)) * time.Millisecond)
		return err
	}
}

// Workers of one application that start together on an empty table are not
// refused, whatever happens to the anchor of one of them.
func TestOneApplicationStartsTogether(t *testing.T) {
	t.Parallel()
	for seed := range testsize.Pick[uint64](1, 4, 8) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, oneStream(3))
			for i := range 3 {
				w := r.worker(fmt.Sprint("w", i), func(c *scheduler.Config) { c.RetrievalMode = scheduler.Polling })
				w.faults.SetFault(shaky(rand.New(rand.NewPCG(seed, uint64(i))), true))
				w.start()
			}
			r.produce(120, time.Second, keys(6))
			r.finished(3 * time.Minute)
			require.Len(t, r.table(), 3)
			for _, w := range r.workers {
				require.NoError(t, w.Healthy())
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// The worker dies right after its anchor. The next one of the application makes
// the rest from where that one began; one that does not belong to it is refused.
func TestCrashAfterTheAnchor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, twoStreams())
		latest := func(c *scheduler.Config) { c.Streams[0].InitialPosition = kcl.InitialPosition{Kind: kcl.Latest} }
		a := r.worker("a", latest)
		a.faults.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
			if call.Op != "create" {
				return apply()
			}
			err := apply()
			a.kill()
			return errors.Join(err, leasefault.Silent(ctx, call, apply))
		})
		a.start()
		time.Sleep(time.Minute)
		require.Len(t, r.table(), 1)
		anchor := r.table()[0]
		require.False(t, anchor.PinnedAt.IsZero())
		r.put(keys(10)...) // after the application began

		b := r.worker("b", latest, func(c *scheduler.Config) { c.Application = "billing" }).start()
		<-b.done
		require.ErrorIs(t, b.err, leases.ErrForeignTable)
		require.Equal(t, []leases.Lease{anchor}, r.table())

		c := r.worker("c").start() // its initial position does not count any more
		r.finished(time.Minute)
		require.Len(t, r.table(), 2)
		for _, l := range r.table() {
			require.Equal(t, "app", l.Application)
		}
		require.NoError(t, c.Healthy())
	})
}

// With several streams only rows of the same stream in another region are
// refused: an application may read streams of several regions, a worker each.
func TestSeveralStreamsInTwoRegions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders", "bills"))
		other := r.inOtherRegion(someStreams(1, "orders", "payments"))
		a := r.worker("a", tracked(list("orders", "bills"))).start()
		r.produceTo(2, time.Second, "orders", "bills")
		r.finished(time.Minute)
		b := other.worker("b", tracked(list("orders", "payments"))).start()
		other.produceTo(2, time.Second, "payments")
		r.finished(time.Minute)
		time.Sleep(10 * time.Minute)
		require.ErrorIs(t, b.Healthy(), leases.ErrForeignTable)
		require.ErrorContains(t, b.Healthy(), "belongs to stream arn:aws:kinesis:us-east-1")
		require.Len(t, r.table(), 3)
		require.NoError(t, a.Healthy())
		require.NoError(t, b.stop())
		require.NoError(t, a.stop())
		r.audit.check(0)
	})
}

// A row with foreign marks turns up under a running worker, as after a restore
// or in a global table: it is never taken, and its stream is stopped.
func TestForeignRowTurnsUp(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		a := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		row := leases.Lease{
			Key: "shardId-000000000009", ShardID: "shardId-000000000009", ThroughputKBps: -1,
			Extension:  leases.Extension{Application: "billing"},
			Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
		}
		require.NoError(t, r.store.Create(t.Context(), row))
		<-a.done
		require.ErrorIs(t, a.err, leases.ErrForeignTable)
		require.ErrorContains(t, a.err, "belongs to application billing, and this is application app")
		require.Equal(t, row, r.row(row.Key))
	})
}
