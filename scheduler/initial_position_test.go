package scheduler_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

// fromNow is what many write: each process gives another time.
func fromNow() func(*scheduler.Config) {
	return from(kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: time.Now()})
}

func fromLatest() func(*scheduler.Config) { return from(kcl.InitialPosition{Kind: kcl.Latest}) }

// sentinel is the row of a shard that was not read yet.
func sentinel(key, position string) leases.Lease {
	return leases.Lease{
		Key: key, ShardID: key, ThroughputKBps: -1,
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: position},
	}
}

// counting makes a worker count what it is given, and checkpoint.
func (w *worker) counting() *atomic.Int64 {
	n := new(atomic.Int64)
	w.do = func(ctx context.Context, _ *processor, in kcl.ProcessRecordsInput) error {
		n.Add(int64(len(in.Records)))
		return in.Checkpointer.Checkpoint(ctx)
	}
	return n
}

// An idle shard has no checkpoint. What arrives while no worker runs is read.
func TestTimeOfTheFirstWorkerHoldsOverARestart(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		began := time.Now()
		w := r.worker("a", mode, fromNow()).start()
		time.Sleep(time.Minute)
		require.NoError(t, w.stop())
		r.put(keys(5)...)
		time.Sleep(30 * time.Second)
		logs := r.capture()
		w = r.worker("b", mode, fromNow()).start()
		r.finished(2 * time.Minute)
		require.NoError(t, w.stop())
		require.Equal(t, 1, logs.count("configured initial position is not used"), "told once")
		for _, id := range r.open() {
			require.Equal(t, "AT_TIMESTAMP", r.row(id).Origin.Kind)
			require.WithinDuration(t, began, r.row(id).Origin.At, 0)
			require.Equal(t, r.row(id).Started(), r.row(id).PinnedAt.IsZero())
		}
		r.audit.check(0)
	})
}

// A worker dies with its first batch in hand.
func TestTimeOfTheFirstWorkerHoldsOverACrash(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		a := r.worker("a", mode, fromNow())
		a.do = func(ctx context.Context, _ *processor, _ kcl.ProcessRecordsInput) error {
			<-ctx.Done()
			return ctx.Err()
		}
		a.start()
		r.eventually(time.Minute, "owned", func() bool { return r.owned() == 1 })
		time.Sleep(10 * time.Second)
		r.put("k")
		time.Sleep(5 * time.Second)
		a.kill()
		time.Sleep(5 * time.Second)
		b := r.worker("b", mode, fromNow()).start()
		r.finished(2 * time.Minute)
		require.NoError(t, b.stop())
	})
}

// The configuration says something else later: nothing from before the first
// worker's time comes, whatever it says.
func TestLaterConfigurationDoesNotMoveTheStart(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]kcl.InitialPosition{
		"LATEST": {Kind: kcl.Latest}, "TRIM_HORIZON": {}, "an earlier time": {
			Kind:      kcl.AtTimestamp,
			Timestamp: time.Unix(1, 0),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				r.put("old", "old")
				time.Sleep(time.Hour)
				a := r.worker("a", fromNow()).start()
				time.Sleep(time.Minute)
				require.NoError(t, a.stop())
				r.put("new")
				b := r.worker("b", from(later))
				n := b.counting()
				b.start()
				time.Sleep(time.Minute)
				require.NoError(t, b.stop())
				require.EqualValues(t, 1, n.Load())
			})
		})
	}
}

// An operator sets the checkpoint to LATEST with another tool, to skip a backlog.
func TestLatestByHandSkipsTheBacklog(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		a := r.worker("a", mode, fromLatest()).start()
		r.eventually(time.Minute, "owned", func() bool { return r.owned() == 1 })
		r.put("k")
		r.finished(time.Minute)
		require.NoError(t, a.stop())
		r.put(keys(100)...)
		time.Sleep(time.Hour)
		row := r.row(r.open()[0])
		to := row
		to.Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelLatest}
		require.NoError(t, r.store.Update(t.Context(), leases.Update{
			Read: row, Expect: leases.AttrCounter, To: to,
			Set: leases.AttrCheckpoint,
		}))
		b := r.worker("b", mode, fromLatest())
		n := b.counting()
		b.start()
		time.Sleep(2 * time.Minute)
		require.Zero(t, n.Load())
		r.put("k")
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, n.Load())
		require.NoError(t, b.stop())
	})
}

// A row of another library at LATEST, in a stream that cannot be listed yet: the
// time stands in the row before the first delivery, and the next owner starts there.
func TestLatestOfAnUnlistedStreamIsPinnedFirst(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, someStreams(1, "orders", "bills"))
		key := r.foreignLatest("orders")
		time.Sleep(time.Minute)
		remove := r.srv.Inject(kinesistest.Fault{
			Operation: "ListShards",
			Do:        []kinesistest.Action{kinesistest.Fail("LimitExceededException", "Rate exceeded")},
		})
		w := r.worker("a", tracked(list("orders")), mode)
		unpinned := 0
		w.do = func(context.Context, *processor, kcl.ProcessRecordsInput) error {
			if r.row(key).PinnedAt.IsZero() {
				unpinned++
			}
			return errors.New("the database is away")
		}
		w.start()
		time.Sleep(20 * time.Second)
		r.putTo("orders", 5)
		time.Sleep(20 * time.Second)
		require.NoError(t, w.stop())
		require.Zero(t, unpinned)
		remove()
		w = r.worker("b", tracked(list("orders")), mode).start()
		r.finished(2 * time.Minute)
		require.NoError(t, w.stop())
	})
}

// foreignLatest makes the row of a stream's first shard as another library would.
func (r *rig) foreignLatest(stream string) (key string) {
	summary, err := r.admin.DescribeStreamSummary(r.t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
	require.NoError(r.t, err)
	id := kcl.StreamIdentifier{
		AccountID: kinesistest.DefaultAccountID, Name: stream,
		CreationEpoch: summary.StreamDescriptionSummary.StreamCreationTimestamp.Unix(),
	}
	row := sentinel(shardsync.LeaseKey(id, "shardId-000000000000", true), kcl.SentinelLatest)
	row.Stream, row.ShardID = id.String(), "shardId-000000000000"
	require.NoError(r.t, r.store.Create(r.t.Context(), row))
	return row.Key
}

// undated is a service whose answers have no Date.
type undated struct{ base aws.HTTPClient }

func (u undated) Do(req *http.Request) (*http.Response, error) {
	resp, err := u.base.Do(req)
	if err == nil {
		resp.Header.Del("Date")
	}
	return resp, err
}

// withoutDate takes the Date from all answers that a worker gets.
func (r *rig) withoutDate(name string) func(*scheduler.Config) {
	return func(c *scheduler.Config) {
		c.Kinesis = awstest.Kinesis(r.t, r.srv,
			func(o *kinesis.Options) { o.HTTPClient = undated{r.srv.HTTPClientFrom(name)} })
	}
}

// Nothing tells what LATEST stands for: the shard waits, and Healthy says what to do.
func TestLatestWithoutAnyTimeIsNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders"))
		key := r.foreignLatest("orders")
		w := r.worker("a", tracked(list("orders")), r.withoutDate("a"))
		w.start()
		r.eventually(time.Minute, "taken", func() bool { return r.row(key).Owner != "" })
		r.putTo("orders", 5)
		time.Sleep(2*scheduler.DefaultStallTimeout + time.Minute)
		require.Zero(t, r.audit.count())
		require.Zero(t, r.row(key).PinnedAt)
		require.Equal(t, scheduler.StateWaitingOnParents, w.shard("shardId-000000000000").State)
		require.NotEmpty(t, w.stalls())
		require.Equal(t, scheduler.LayerService, w.stalls()[0].Layer)
		require.ErrorContains(t, w.stalls()[0], "needs the service's time, and its answer to ListShards has no Date")
		require.ErrorContains(t, w.stalls()[0], "use kcl.AtTimestamp or kcl.TrimHorizon")
		require.NoError(t, w.stop())
	})
}

// A new application at LATEST is refused by a service without a clock.
func TestLatestWithoutAnyTimeMakesNoRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", fromLatest(), r.withoutDate("a")).start()
		time.Sleep(30 * time.Second)
		require.Empty(t, r.table())
		require.ErrorContains(t, errors.Join(w.Healthy(), w.err), "use kcl.AtTimestamp or kcl.TrimHorizon")
		_ = w.stop()
	})
}

// LATEST of another library is pinned by whoever synchronises, although nobody
// takes the lease: what arrives until somebody does is read.
func TestLatestIsPinnedAtFirstSight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		ids := r.open()
		for _, id := range ids {
			require.NoError(t, r.store.Create(t.Context(), sentinel(id, kcl.SentinelLatest)))
		}
		w := r.worker("a", fromLatest(), func(c *scheduler.Config) { c.MaxLeasesForWorker = 1 }).start()
		time.Sleep(30 * time.Second)
		for _, id := range ids {
			require.WithinDuration(t, time.Now(), r.row(id).PinnedAt, 2*time.Minute, id)
		}
		r.put(keys(10)...)
		time.Sleep(time.Minute)
		b := r.worker("b", fromLatest()).start()
		r.finished(2 * time.Minute)
		require.NoError(t, w.stop())
		require.NoError(t, b.stop())
		r.audit.check(0)
	})
}

// AT_TIMESTAMP of another library has no time: the first worker's holds, or all is read.
func TestTimeOfAnotherLibraryIsDecidedOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		configured func() func(*scheduler.Config)
		want       int
	}{"a time is configured": {fromNow, 1}, "no time is configured": {fromLatest, 3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(1))
				r.put("before", "before")
				time.Sleep(time.Hour)
				require.NoError(t, r.store.Create(t.Context(), sentinel(r.open()[0], kcl.SentinelAtTimestamp)))
				a := r.worker("a", mode, tc.configured())
				a.do = func(context.Context, *processor, kcl.ProcessRecordsInput) error {
					return errors.New("the database is away")
				}
				a.start()
				time.Sleep(time.Minute)
				require.False(t, r.row(r.open()[0]).PinnedAt.IsZero())
				r.put("after")
				time.Sleep(time.Minute)
				require.NoError(t, a.stop())
				b := r.worker("b", mode, fromNow())
				n := b.counting()
				b.start()
				time.Sleep(time.Minute)
				require.NoError(t, b.stop())
				require.EqualValues(t, tc.want, n.Load())
			})
		})
	}
}

// Two workers made rows for different times, and neither saw the other's: all
// rows begin at the earlier one.
func TestTwoFirstWorkersBeginAtTheEarlierTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		early := time.Now()
		time.Sleep(time.Minute)
		r.put(keys(20)...)
		time.Sleep(time.Minute)
		for i, id := range r.open() {
			row := sentinel(id, kcl.SentinelAtTimestamp)
			row.PinnedAt = early.Add(time.Duration(i) * 2 * time.Minute).UTC()
			row.Origin = leases.Origin{Kind: kcl.SentinelAtTimestamp, At: row.PinnedAt}
			require.NoError(t, r.store.Create(t.Context(), row))
		}
		w := r.worker("a", fromNow()).start()
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// The list by which a lease was taken may be older than the write that moved its
// start to an earlier time.
func TestStartIsReadWhenTheLeaseIsTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		early := time.Now().UTC()
		r.put(keys(5)...)
		time.Sleep(time.Minute)
		shard := r.open()[0]
		row := sentinel(shard, kcl.SentinelAtTimestamp)
		row.PinnedAt = time.Now().UTC()
		row.Origin = leases.Origin{Kind: kcl.SentinelAtTimestamp, At: early}
		require.NoError(t, r.store.Create(t.Context(), row))
		w := r.worker("a", fromNow())
		w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			if err := apply(); err != nil || call.Op != "update" || !call.Update.Set.Has(leases.AttrOwner) {
				return err
			}
			to := row
			to.PinnedAt = early
			return r.store.Update(context.Background(), leases.Update{
				Read: row, Expect: leases.AttrPinnedAt, To: to,
				Set: leases.AttrPinnedAt,
			})
		})
		w.start()
		r.eventually(time.Minute, "owned", func() bool { return r.owned() == 1 })
		w.faults.SetFault(nil)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// The stream was deleted and created again while no worker ran: all of it is new,
// also where each process is configured with the present.
func TestStreamCreatedAgainIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		now := func() func(*scheduler.Config) {
			l := &streamList{}
			l.configure(scheduler.StreamConfig{Name: streamName, InitialPosition: kcl.InitialPosition{
				Kind:      kcl.AtTimestamp,
				Timestamp: time.Now(),
			}})
			return tracked(l)
		}
		w := r.worker("a", now()).start()
		time.Sleep(time.Minute)
		require.NoError(t, w.stop())
		r.recreate(1)
		r.put(keys(3)...)
		time.Sleep(time.Minute)
		w = r.worker("b", now()).start()
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A child that waits for its parent starts no later than that one did, although
// the parent's own time is gone with its first checkpoint.
func TestChildStartsWhereItsParentBegan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		parent := r.open()[0]
		began := leases.Origin{Kind: kcl.SentinelAtTimestamp, At: time.Now().UTC()}
		r.put("k")
		time.Sleep(5 * time.Second)
		left, right := r.split(parent)
		r.put(keys(10)...)
		time.Sleep(time.Minute)
		row := sentinel(parent, kcl.SentinelAtTimestamp)
		row.PinnedAt, row.Origin = began.At, began
		require.NoError(t, r.store.Create(t.Context(), row))
		hold := make(chan struct{})
		w := r.worker("a", fromNow())
		w.shardEnded = func(ctx context.Context, p *processor, in kcl.ShardEndedInput) error {
			select {
			case <-hold:
			case <-ctx.Done():
				return ctx.Err()
			}
			return in.Checkpointer.Checkpoint(ctx)
		}
		w.start()
		r.eventually(time.Minute, "the parent has a checkpoint", func() bool { return r.row(parent).Started() })
		require.Zero(t, r.row(parent).PinnedAt)
		for _, id := range []string{left, right} {
			_ = r.store.Delete(t.Context(), r.row(id), 0)
			row := sentinel(id, kcl.SentinelAtTimestamp)
			row.PinnedAt, row.Parents = time.Now().UTC(), []string{parent}
			row.Origin = leases.Origin{Kind: kcl.SentinelAtTimestamp, At: row.PinnedAt}
			require.NoError(t, r.store.Create(t.Context(), row))
		}
		close(hold)
		r.finished(2 * time.Minute)
		require.NoError(t, w.stop())
		require.True(t, strings.HasPrefix(r.row(left).Origin.String(), "AT_TIMESTAMP@"))
		r.audit.check(0)
	})
}
