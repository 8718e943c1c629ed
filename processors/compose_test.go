package processors_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/processors"
)

// except returns a handler that fails with certain records, and keeps the others.
func (s *seen) except(bad ...string) func(context.Context, kcl.Record) error {
	return func(_ context.Context, r kcl.Record) error {
		if slices.Contains(bad, string(r.Data())) {
			return errBoom
		}
		s.add(r)
		return nil
	}
}

// sorted sorts numbers, and removes repetitions.
func sorted(all []string) []string {
	slices.SortFunc(all, func(a, b string) int { return number(a) - number(b) })
	return slices.Compact(all)
}

func without(all []string, bad ...string) []string {
	return slices.DeleteFunc(all, func(r string) bool { return slices.Contains(bad, r) })
}

// safe is a dead-letter queue for several lanes.
type safe struct {
	mu sync.Mutex // guards letters
	letters
}

func (s *safe) take(ctx context.Context, d processors.DeadLetter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.letters.take(ctx, d)
}

func (s *safe) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.letters.list()
}

// letterBox is a dead-letter handler.
type letterBox = func(context.Context, processors.DeadLetter) error

func retrying(p kcl.Processor, dlq letterBox) kcl.Processor {
	return processors.Retry(p, processors.RetryOptions{Attempts: 3, DeadLetter: dlq, Logger: quiet})
}

// patiently calls f again after an error, as the scheduler does.
func patiently(t *testing.T, f func() error) {
	t.Helper()
	err := f()
	for tries := 0; err != nil && tries < 100; tries++ {
		time.Sleep(time.Second)
		err = f()
	}
	require.NoError(t, err)
}

// Every nesting of decorators delivers all records and dead-letters the bad ones once. The last
// checkpoint is at the last record.
func TestNesting(t *testing.T) {
	t.Parallel()
	const n = 300
	bad := []string{"1", "42", "43", "44", "99", "150", "300"}
	conc := processors.ConcurrentOptions{Lanes: 4, MaxRecords: 60, MaxBatch: 7, Checkpoints: every, Logger: quiet}
	batch := processors.BatchOptions{MaxRecords: 16, Logger: quiet}
	type handler func(context.Context, kcl.Record) error
	leaf := func(h handler) kcl.Processor {
		return processors.Each(h, processors.FuncOptions{Logger: quiet})
	}
	for name, build := range map[string]func(handler, letterBox) kcl.Processor{
		"retry": func(h handler, dlq letterBox) kcl.Processor {
			return retrying(leaf(h), dlq)
		},
		"concurrent of retry": func(h handler, dlq letterBox) kcl.Processor {
			return processors.Concurrent(func(int) kcl.Processor { return retrying(leaf(h), dlq) }, conc)
		},
		"retry of concurrent": func(h handler, dlq letterBox) kcl.Processor {
			return retrying(processors.Concurrent(func(int) kcl.Processor { return leaf(h) }, conc), dlq)
		},
		"batch of retry": func(h handler, dlq letterBox) kcl.Processor {
			return processors.Batch(retrying(leaf(h), dlq), batch)
		},
		"retry of batch": func(h handler, dlq letterBox) kcl.Processor {
			return retrying(processors.Batch(leaf(h), batch), dlq)
		},
		"batch of retry of concurrent": func(h handler, dlq letterBox) kcl.Processor {
			return processors.Batch(retrying(processors.Concurrent(func(int) kcl.Processor { return leaf(h) }, conc), dlq),
				batch)
		},
		"retry of batch of concurrent": func(h handler, dlq letterBox) kcl.Processor {
			return retrying(processors.Batch(processors.Concurrent(func(int) kcl.Processor { return leaf(h) }, conc), batch),
				dlq)
		},
		"retry of concurrent of batch": func(h handler, dlq letterBox) kcl.Processor {
			return retrying(processors.Concurrent(func(int) kcl.Processor { return processors.Batch(leaf(h), batch) }, conc),
				dlq)
		},
		"concurrent of batch of retry": func(h handler, dlq letterBox) kcl.Processor {
			return processors.Concurrent(func(int) kcl.Processor { return processors.Batch(retrying(leaf(h), dlq), batch) },
				conc)
		},
		"retry of concurrent of concurrent": func(h handler, dlq letterBox) kcl.Processor {
			return retrying(processors.Concurrent(func(int) kcl.Processor {
				return processors.Concurrent(func(int) kcl.Processor { return leaf(h) }, conc)
			}, conc), dlq)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, stop := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					var got seen
					dlq := &safe{}
					s := open(t, build(got.except(bad...), dlq.take))
					checkCheckpoint := func() {
						n := number(s.row.last())
						all := sorted(append(got.list(), dlq.list()...))
						require.GreaterOrEqual(t, len(all), n)
						require.Equal(t, strings.Join(numbers(1, n), " "), strings.Join(all[:n], " "),
							"all before the checkpoint is processed")
					}
					for from := 1; from <= n; from += 37 {
						patiently(t, func() error { return s.deliver(recs(from, min(from+36, n), "a", "b", "c", "d", "e", "")...) })
						checkCheckpoint()
					}
					if stop {
						// The last record may be held and fail. Then it must not be checkpointed.
						if s.shutdown() == nil {
							require.Equal(t, "300", s.row.last())
						}
						require.GreaterOrEqual(t, number(s.row.last()), n-1)
						checkCheckpoint()
						return
					}
					patiently(t, s.end)
					require.Equal(t, bad, sorted(dlq.list()))
					require.Equal(t, without(numbers(1, n), bad...), sorted(got.list()))
					require.Equal(t, "300", s.row.last())
					s.cancel(nil)
				})
			}
		})
	}
}

// The records that a lane keeps are not checkpointed before the lane has processed them.
func TestBatchInsideALaneIsNotCheckpointedEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := collect()
		s := open(t, processors.Concurrent(func(int) kcl.Processor {
			return retrying(processors.Batch(processors.Func(b.handle, processors.FuncOptions{Checkpoints: every}),
				processors.BatchOptions{MaxRecords: 4, MaxAge: time.Minute}), nil)
		}, processors.ConcurrentOptions{Checkpoints: every}))
		require.NoError(t, s.deliver(recs(1, 6)...))
		synctest.Wait()
		require.Equal(t, []string{"1 2 3 4"}, b.list())
		require.Equal(t, "4", s.row.last())
		time.Sleep(2 * time.Minute)
		require.Equal(t, []string{"1 2 3 4", "5 6"}, b.list())
		require.Equal(t, "6", s.row.last())
		require.NoError(t, s.deliver(recs(7, 8)...))
		synctest.Wait()
		require.Equal(t, "6", s.row.last())
		require.NoError(t, s.shutdown())
		require.Equal(t, "8", s.row.last())
		require.Equal(t, numbers(1, 8), strings.Fields(strings.Join(b.list(), " ")))
	})
}

// The whole library runs with batches, dead letters and lanes, over a restart.
func TestNestingThroughTheLibrary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(t)
		var got seen
		dlq := &safe{}
		p := func() kcl.Processor {
			return processors.Concurrent(func(int) kcl.Processor {
				return retrying(processors.Each(got.except("13", "130"), processors.FuncOptions{}), dlq.take)
			}, processors.ConcurrentOptions{Logger: w.cfg.Logger})
		}
		w.start(p)
		w.put(1, 100, "a", "b", "c")
		time.Sleep(time.Minute)
		w.stop()
		w.start(p)
		w.put(101, 200, "a", "b", "c")
		time.Sleep(time.Minute)
		w.split()
		eventually(t, "the end of the shard", func() bool { return w.checkpoint() == kcl.SentinelShardEnd })
		w.stop()
		require.Equal(t, []string{"13", "130"}, dlq.list())
		require.Equal(t, without(numbers(1, 200), "13", "130"), sorted(got.list()))
	})
}
