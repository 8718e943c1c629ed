package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/scheduler"
)

// streamList is what a tracker says.
type streamList struct {
	mu   sync.Mutex // guards the fields below
	list []scheduler.StreamConfig
	err  error
}

func list(names ...string) *streamList {
	l := &streamList{}
	l.set(names...)
	return l
}

func (l *streamList) set(names ...string) {
	var list []scheduler.StreamConfig
	for _, name := range names {
		list = append(list, scheduler.StreamConfig{Name: name})
	}
	l.configure(list...)
}

func (l *streamList) configure(list ...scheduler.StreamConfig) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = list
}

func (l *streamList) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *streamList) track(context.Context) ([]scheduler.StreamConfig, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list, l.err
}

// tracked configures a worker for a list.
func tracked(l *streamList) func(*scheduler.Config) {
	return func(c *scheduler.Config) { c.Streams, c.StreamTracker = nil, l.track }
}

func someStreams(shards int, names ...string) kinesistest.Config {
	var cfg kinesistest.Config
	for _, name := range names {
		cfg.Streams = append(cfg.Streams, kinesistest.StreamConfig{Name: name, Shards: shards})
	}
	return cfg
}

// putTo writes one record for each of n keys of a stream.
func (r *rig) putTo(stream string, n int) {
	r.t.Helper()
	ks := make([]string, n)
	for i := range ks {
		ks[i] = stream + "-" + strconv.Itoa(i)
	}
	r.putIn(stream, ks)
}

// produceTo writes rounds of records to some streams.
func (r *rig) produceTo(rounds int, pause time.Duration, streams ...string) {
	r.t.Helper()
	for range rounds {
		for _, stream := range streams {
			r.putTo(stream, 10)
		}
		time.Sleep(pause)
	}
}

// rowsOf returns the rows of the streams of a name, by epoch.
func (r *rig) rowsOf(name string) map[int64][]leases.Lease {
	rows := map[int64][]leases.Lease{}
	for _, l := range r.table() {
		if id, err := kcl.ParseStreamIdentifier(l.Stream); err == nil && id.Name == name {
			rows[id.CreationEpoch] = append(rows[id.CreationEpoch], l)
		}
	}
	return rows
}

// names lists the streams of a worker's status, with a question mark for those
// that are not read.
func (w *worker) names() []string {
	out := []string{}
	for _, st := range w.Status().Streams {
		name := st.Stream.Name
		if st.Err != nil {
			name += "?"
		}
		out = append(out, name)
	}
	return out
}

// A stream that appears is read without a restart; one that vanishes is left
// gracefully, with its checkpoints, and goes on where it was when it comes back.
func TestStreamsComeAndGo(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, someStreams(2, "orders", "bills"))
		l := list("orders")
		w := r.worker("a", mode, tracked(l)).start()
		r.produceTo(2, time.Second, "orders", "bills")
		r.eventually(time.Minute, "orders is read", func() bool { return r.owned() == 2 })
		require.Empty(t, r.rowsOf("bills"))
		for _, rows := range r.rowsOf("orders") {
			for _, row := range rows {
				require.Regexp(t, `^000000000000:orders:\d+:shardId-\d{12}$`, row.Key,
					"one stream of a tracker has the keys of several")
				require.Equal(t, row.Key, row.Stream+":"+row.ShardID)
				require.False(t, row.StreamCreated.IsZero())
			}
		}

		l.set("orders", "bills")
		r.finished(2 * time.Minute)
		require.NoError(t, w.Healthy())
		require.Equal(t, []string{"bills", "orders"}, w.names())

		l.set("bills")
		r.eventually(2*time.Minute, "orders is left", func() bool { return r.owned() == 2 })
		require.Equal(t, []string{"bills"}, w.names())
		time.Sleep(2 * time.Second)
		for _, rows := range r.rowsOf("orders") {
			require.Len(t, rows, 2)
			for _, row := range rows {
				require.Empty(t, row.ActualOwner())
				require.True(t, row.Started())
			}
		}
		r.produceTo(3, time.Second, "orders", "bills")
		time.Sleep(testsize.Pick(8*time.Minute, 20*time.Minute, 20*time.Minute)) // nothing is deleted unless asked for
		require.NoError(t, w.Healthy(), "a stream that is not wanted is no reason to be unhealthy")
		r.produceTo(3, time.Second, "orders", "bills")

		l.set("orders", "bills")
		r.finished(2 * time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// An empty list is one: the worker waits, and reads what appears.
func TestTrackerWithoutStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders"))
		l := list()
		w := r.worker("a", tracked(l)).start()
		time.Sleep(10 * time.Minute)
		require.NoError(t, w.Healthy())
		require.Empty(t, w.names())
		l.set("orders")
		r.putTo("orders", 5)
		r.finished(2 * time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// An error of the tracker, a panic or a list that is not valid change nothing;
// health tells when that lasts.
func TestTrackerFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]struct {
		list func(l *streamList) scheduler.StreamTracker
		says string
	}{
		"error": {func(*streamList) scheduler.StreamTracker {
			return func(context.Context) ([]scheduler.StreamConfig, error) { return nil, errors.New("catalogue is away") }
		}, "catalogue is away"},
		"panic": {func(*streamList) scheduler.StreamTracker {
			return func(context.Context) ([]scheduler.StreamConfig, error) { panic("oops") }
		}, "panic: oops"},
		"silence": {func(*streamList) scheduler.StreamTracker {
			return func(ctx context.Context) ([]scheduler.StreamConfig, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}, "deadline exceeded"},
		"not valid": {func(*streamList) scheduler.StreamTracker {
			return func(context.Context) ([]scheduler.StreamConfig, error) {
				return []scheduler.StreamConfig{{Name: "bills"}, {Name: "a/b"}}, nil
			}
		}, `Config.StreamTracker[1].Name is "a/b"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, someStreams(1, "orders", "bills"))
				l := list("orders")
				var mu sync.Mutex // guards ask
				ask := l.track
				w := r.worker("a", func(c *scheduler.Config) {
					c.Streams = nil
					c.StreamTracker = func(ctx context.Context) ([]scheduler.StreamConfig, error) {
						mu.Lock()
						f := ask
						mu.Unlock()
						return f(ctx)
					}
				}).start()
				set := func(f scheduler.StreamTracker) {
					mu.Lock()
					defer mu.Unlock()
					ask = f
				}
				r.produceTo(2, time.Second, "orders")
				r.finished(time.Minute)
				set(fail.list(l))
				r.produceTo(6, time.Minute, "orders")
				r.finished(time.Minute)
				require.ErrorContains(t, w.Healthy(), "Config.StreamTracker has failed since")
				require.ErrorContains(t, w.Healthy(), fail.says)
				require.Equal(t, []string{"orders"}, w.names())
				set(l.track)
				l.set("orders", "bills")
				r.produceTo(2, time.Minute, "orders", "bills")
				r.finished(time.Minute)
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// A tracker that does not return is left behind: health tells, the streams are
// read on, and it is asked again once it has returned. A stop does not wait for it.
func TestTrackerDoesNotReturn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders", "bills"))
		l := list("orders")
		var hangs atomic.Bool
		release := make(chan struct{})
		w := r.worker("a", func(c *scheduler.Config) {
			c.Streams = nil
			c.StreamTracker = func(ctx context.Context) ([]scheduler.StreamConfig, error) {
				if hangs.Load() {
					<-release
				}
				return l.track(ctx)
			}
		}).start()
		r.produceTo(2, time.Second, "orders")
		r.finished(time.Minute)

		hangs.Store(true)
		r.produceTo(6, time.Minute, "orders")
		r.finished(time.Minute)
		require.ErrorContains(t, w.Healthy(), "Config.StreamTracker has failed since")
		hangs.Store(false)
		close(release)
		l.set("orders", "bills")
		r.produceTo(2, time.Minute, "orders", "bills")
		r.finished(time.Minute)
		require.NoError(t, w.Healthy())

		release = make(chan struct{})
		hangs.Store(true)
		time.Sleep(5 * time.Minute)
		stopping := time.Now()
		time.AfterFunc(time.Hour, func() { close(release) })
		require.NoError(t, w.stop())
		require.Less(t, time.Since(stopping), time.Minute)
		time.Sleep(2 * time.Hour)
		r.audit.check(0)
	})
}

// At the start there is no last list: an error is waited for, one that will not
// pass ends Run.
func TestTrackerFailsAtTheStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders"))
		r.putTo("orders", 5)
		l := list("orders")
		l.fail(errors.New("catalogue is away"))
		w := r.worker("a", tracked(l)).start()
		time.Sleep(5 * time.Minute)
		require.ErrorContains(t, w.Healthy(), "starting: ask the stream tracker: ")
		require.ErrorContains(t, w.Healthy(), "catalogue is away")
		l.fail(nil)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)

		l.set("a/b")
		bad := r.worker("b", tracked(l)).start()
		<-bad.done
		require.ErrorIs(t, bad.err, kcl.ErrInvalidStream)
		require.ErrorContains(t, bad.err, `Config.StreamTracker[0].Name is "a/b"`)
	})
}

// A stream that does not exist does not keep the others from being read, and is
// read once it does.
func TestTrackedStreamIsMissing(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, someStreams(2, "orders"))
		w := r.worker("a", mode, tracked(list("orders", "bills"))).start()
		r.produceTo(2, time.Second, "orders")
		r.finished(time.Minute)
		require.ErrorContains(t, w.Healthy(), "stream bills is not read yet: ")
		require.ErrorIs(t, w.Healthy(), kcl.ErrStreamNotFound)
		require.Equal(t, []string{"orders", "bills?"}, w.names())
		require.NoError(t, r.srv.CreateStream(kinesistest.StreamConfig{Name: "bills", Shards: 2}))
		r.produceTo(2, time.Minute, "orders", "bills")
		r.finished(time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A stream that may not be read is told at once, and is read when it may.
func TestTrackedStreamIsDenied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var allowed atomic.Bool
		cfg := someStreams(1, "orders", "bills")
		cfg.Deny = func(operation, resource string) bool {
			return !allowed.Load() && operation == "DescribeStreamSummary" && strings.HasSuffix(resource, "/bills")
		}
		r := newRig(t, cfg)
		w := r.worker("a", tracked(list("bills", "orders"))).start()
		r.produceTo(2, time.Second, "orders", "bills")
		r.eventually(time.Minute, "orders is read", func() bool { return r.owned() == 1 })
		require.ErrorIs(t, w.Healthy(), kcl.ErrAccessDenied)
		require.ErrorContains(t, w.Healthy(), "allow kinesis:DescribeStreamSummary on stream bills")
		allowed.Store(true)
		r.finished(2 * time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// R-18, with several streams: one that is deleted and created again is another
// one, read from its beginning, LATEST notwithstanding. The old leases stay, or
// go after the wait.
func TestR18StreamIsCreatedAgain(t *testing.T) {
	t.Parallel()
	static := func(c *scheduler.Config) {
		c.Streams = []scheduler.StreamConfig{{Name: "orders"}, {
			Name:            "bills",
			InitialPosition: kcl.InitialPosition{Kind: kcl.Latest},
		}}
	}
	dynamic := func(c *scheduler.Config) {
		static(c)
		streams := c.Streams
		c.Streams = nil
		c.StreamTracker = func(context.Context) ([]scheduler.StreamConfig, error) { return streams, nil }
	}
	for name, how := range map[string]func(*scheduler.Config){"static": static, "tracker": dynamic} {
		for _, deletion := range []scheduler.FormerStreamsDeletion{
			scheduler.NoDeletion,
			scheduler.AutoDetectionAndDeferredDeletion,
		} {
			if testing.Short() && (name == "tracker") != (deletion == scheduler.NoDeletion) {
				continue
			}
			t.Run(fmt.Sprintf("%s %s", name, deletion), func(t *testing.T) {
				t.Parallel()
				modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
					keeps := deletion == scheduler.NoDeletion
					r := newRig(t, someStreams(2, "orders", "bills"))
					w := r.worker("a", mode, how, deleting(deletion)).start()
					r.eventually(time.Minute, "both are read", func() bool { return r.owned() == 4 })
					r.produceTo(2, time.Second, "orders", "bills")
					r.finished(time.Minute)

					require.NoError(t, r.srv.DeleteStream("bills"))
					r.produceTo(2, 30*time.Second, "orders")
					r.finished(time.Minute)
					require.ErrorIs(t, w.Healthy(), kcl.ErrStreamNotFound)
					require.NoError(t, r.srv.CreateStream(kinesistest.StreamConfig{Name: "bills", Shards: 3}))
					r.produceTo(2, time.Minute, "orders", "bills")
					r.finished(2 * time.Minute)
					require.NoError(t, w.Healthy())
					require.Len(t, r.rowsOf("bills"), 2, "both streams' rows")

					time.Sleep(time.Minute)
					require.Len(t, r.rowsOf("bills"), 2)
					if !keeps {
						time.Sleep(formerWait)
						require.Len(t, r.rowsOf("bills"), 1)
					}

					// At once, while it is read.
					require.NoError(t, r.srv.DeleteStream("bills"))
					require.NoError(t, r.srv.CreateStream(kinesistest.StreamConfig{Name: "bills", Shards: 1}))
					r.produceTo(2, time.Minute, "orders", "bills")
					r.finished(2 * time.Minute)
					require.NoError(t, w.Healthy())
					require.NoError(t, w.stop())
					r.audit.check(0)
				})
			})
		}
	}
}

// A worker that starts on the rows of an earlier stream reads the new one.
func TestR18StartAfterAStreamWasCreatedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(2, "orders", "bills"))
		l := list("orders", "bills")
		w := r.worker("a", tracked(l)).start()
		r.produceTo(2, time.Second, "orders", "bills")
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		require.NoError(t, r.srv.DeleteStream("bills"))
		require.NoError(t, r.srv.CreateStream(kinesistest.StreamConfig{Name: "bills", Shards: 2}))
		r.produceTo(1, time.Second, "orders", "bills")
		w = r.worker("b", tracked(l)).start()
		r.finished(time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}
