package polling_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/polling"
)

// TestReadsAheadOneBatch: the next batch is there when the loop body comes back, and not one more
// is read.
func TestReadsAheadOneBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 100, 10, shard0)
		r.srv.Inject(
			kinesistest.Fault{Operation: "GetRecords", Do: []kinesistest.Action{kinesistest.DelayAnswer(3 * time.Second)}})
		began, batches := time.Now(), 0
		read(t, r.fetcher(func(c *polling.Config) { c.MaxRecords = 10 }), shard0, kcl.Position{}, 0, 100, func(b kcl.Batch) {
			batches++
			time.Sleep(10 * time.Second)
			require.Len(t, r.called("GetRecords", shard0), batches+1)
			require.LessOrEqual(t, b.ReceivedAt.Sub(began), time.Duration(batches)*10*time.Second)
		})
		require.Equal(t, 10, batches)
		require.Equal(t, 103*time.Second, time.Since(began), "only the first answer was waited for")
	})
}

// TestNothingIsReadAheadOfAnEmptyBatch: an idle shard needs no goroutine for each call. A loop body
// has nothing to do with an empty batch.
func TestNothingIsReadAheadOfAnEmptyBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		batches := 0
		for b, err := range r.fetcher().Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			require.Empty(t, b.Records)
			batches++
			time.Sleep(10 * time.Second)
			require.Len(t, r.called("GetRecords", shard0), batches)
			if batches == 3 {
				break
			}
		}
	})
}

// TestFirstAnswerIsSmall: before the size of the records is known, few are asked for. Otherwise
// many shards that begin together would each bring the largest answer.
func TestFirstAnswerIsSmall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 3000, 10, shard0)
		var got []int
		for b, err := range r.fetcher().Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			if got = append(got, len(b.Records)); len(got) == 2 {
				break
			}
		}
		require.Equal(t, []int{1000, 2000}, got)
	})
}

func TestPrefetchBytes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		budget int
		want   []int // records of each batch
	}{
		{0, []int{40}},
		{-1, []int{40}},
		{1, []int{10, 1, 1, 1}},
		{5 * 1004, []int{10, 5, 5}},
	} {
		t.Run(fmt.Sprint(test.budget), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := start(t, 1)
				r.put(0, 40, 1000, shard0)
				var got []int
				f := r.fetcher(func(c *polling.Config) {
					c.PrefetchBytes = test.budget
					if len(test.want) > 1 {
						c.MaxRecords = 10
					}
				})
				for b, err := range f.Batches(t.Context(), shard0, kcl.Position{}) {
					require.NoError(t, err)
					got = append(got, len(b.Records))
					time.Sleep(time.Second)
					if test.budget < 0 {
						require.Len(t, r.called("GetRecords", shard0), len(got), "nothing is read ahead")
					}
					if len(got) == len(test.want) {
						break
					}
				}
				require.Equal(t, test.want, got)
			})
		})
	}
}

// TestP11SlowAndFast: whatever the fetcher holds and however slow either side is, there is progress
// every second.
func TestP11SlowAndFast(t *testing.T) {
	t.Parallel()
	type speeds struct {
		prefetch           int
		budget             int64 // of all fetchers; 0 for none
		processor, service time.Duration
	}
	cases := map[string]speeds{}
	for _, prefetch := range []int{-1, 1, 25, 0} { // nothing, one record, a part of an answer, an answer
		for _, budget := range []int64{0, 1, 1 << 10, 64 << 20} {
			for _, processor := range []time.Duration{0, 10 * time.Millisecond, 900 * time.Millisecond} {
				for _, service := range []time.Duration{0, 10 * time.Millisecond, 900 * time.Millisecond} {
					name := fmt.Sprintf("ahead %d of %d, processor %s, service %s", prefetch, budget, processor, service)
					cases[name] = speeds{prefetch, budget, processor, service}
				}
			}
		}
	}
	for name, c := range testsize.Some(35, cases) { // 35 and 144 have no common factor: each value is met
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := start(t, 1)
				r.put(0, 50, 10, shard0)
				if c.service > 0 {
					r.srv.Inject(
						kinesistest.Fault{Operation: "GetRecords", Do: []kinesistest.Action{kinesistest.DelayAnswer(c.service)}})
				}
				f := r.fetcher(func(cfg *polling.Config) {
					cfg.PrefetchBytes, cfg.MaxRecords = c.prefetch, 10
					if c.budget > 0 {
						cfg.Memory = polling.NewMemory(c.budget)
					}
				})
				last := time.Now()
				read(t, f, shard0, kcl.Position{}, 0, 50, func(kcl.Batch) {
					require.LessOrEqual(t, time.Since(last), time.Second)
					time.Sleep(c.processor)
					last = time.Now()
				})
			})
		})
	}
}

// TestP12FailedHandOver: a batch that was handed over fails, at any moment of reading ahead. Then
// reading goes on after the last processed batch: nothing is lost, and nothing comes twice.
func TestP12FailedHandOver(t *testing.T) {
	t.Parallel()
	errRefused := errors.New("refused")
	for name, end := range map[string]func(cancel func()) bool{
		"loop left": func(func()) bool { return false },
		"panic":     func(func()) bool { panic(errRefused) },
		"cancelled": func(cancel func()) bool { cancel(); return true },
	} {
		for _, moment := range []time.Duration{
			0, 50 * time.Millisecond, 200 * time.Millisecond, 250 * time.Millisecond,
			time.Second,
		} {
			t.Run(fmt.Sprintf("%s after %s", name, moment), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := start(t, 1)
					r.put(0, 60, 10, shard0)
					r.srv.Inject(
						kinesistest.Fault{
							Operation: "GetRecords",
							Do:        []kinesistest.Action{kinesistest.DelayAnswer(100 * time.Millisecond)},
						},
					)
					f := r.fetcher(func(c *polling.Config) { c.MaxRecords = 10; c.Memory = polling.NewMemory(1) })
					var processed []int
					next := kcl.Position{}
					// pass processes one batch, and fails at the one after it.
					pass := func() {
						defer func() {
							if v := recover(); v != nil && v != any(errRefused) {
								panic(v)
							}
						}()
						ctx, cancel := context.WithCancelCause(t.Context())
						defer cancel(nil)
						done := false
						for b, err := range f.Batches(ctx, shard0, next) {
							if ctx.Err() != nil {
								require.ErrorIs(t, err, errRefused, "nothing is handed over any more")
								return
							}
							require.NoError(t, err)
							if done {
								time.Sleep(moment)
								if !end(func() { cancel(errRefused) }) {
									return
								}
								continue
							}
							for _, rec := range b.Records {
								processed = append(processed, number(t, rec))
							}
							next, done = b.Next, true
						}
					}
					for len(processed) < 60 {
						pass()
					}
					for i, n := range processed {
						require.Equal(t, i, n)
					}
				})
			})
		}
	}
}

// TestP13ForgottenAnswer: what was read ahead and not handed over moves neither the position nor
// the metrics.
func TestP13ForgottenAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 30, 10, shard0)
		f := r.fetcher(func(c *polling.Config) { c.MaxRecords = 10 })
		var next kcl.Position
		for b, err := range f.Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			time.Sleep(time.Second)
			require.Len(t, r.called("GetRecords", shard0), 2)
			next = b.Next
			break
		}
		read(t, f, shard0, next, 10, 20, nil)
	})
}

// TestP01ExpiredWhileReadAhead: the batch that was read ahead comes first, then the reading goes on
// after it.
func TestP01ExpiredWhileReadAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 40, 10, shard0)
		read(
			t,
			r.fetcher(func(c *polling.Config) { c.MaxRecords = 10 }),
			shard0,
			kcl.Position{},
			0,
			40,
			func(kcl.Batch) { time.Sleep(20 * time.Minute) },
		)
	})
}

// A failure while reading ahead is told when the loop body has come back, and the time meanwhile
// counts as waited.
func TestFailureWhileReadingAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 20, 10, shard0)
		r.srv.Inject(
			kinesistest.Fault{
				Operation: "GetRecords",
				Skip:      1,
				Times:     1,
				Do:        []kinesistest.Action{kinesistest.Fail("InternalFailureException", "")},
			},
		)
		var watch observer
		began, calls := time.Now(), 0
		read(
			t,
			r.fetcher(func(c *polling.Config) { c.MaxRecords = 10; c.Observer = &watch }),
			shard0,
			kcl.Position{},
			0,
			20,
			func(kcl.Batch) {
				calls++
				require.Len(t, watch.retried, calls-1)
				time.Sleep(10 * time.Second)
				require.Len(t, watch.retried, calls-1)
			},
		)
		require.Len(t, watch.retried, 1)
		require.Equal(t, 20*time.Second, time.Since(began).Round(time.Second), "no further wait")
	})
}
