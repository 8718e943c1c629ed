package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/kpl"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/scheduler"
)

// pack aggregates payloads, each under its own explicit hash key if there is one.
func pack(t *testing.T, payloads []string, hashes ...string) []byte {
	t.Helper()
	var a kpl.Aggregator
	for i, p := range payloads {
		hash := ""
		if i < len(hashes) {
			hash = hashes[i]
		}
		require.NoError(t, a.Add("key", hash, []byte(p)))
	}
	return a.Bytes()
}

// putRaw writes one Kinesis record and returns its sequence number.
func (r *rig) putRaw(data []byte) string {
	r.t.Helper()
	_, seq, err := r.srv.Put(streamName, "key", data)
	require.NoError(r.t, err)
	return seq
}

// collector gathers what a worker's processors get.
type collector struct {
	mu      sync.Mutex // guards records
	records []kcl.Record
}

func (c *collector) add(records []kcl.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, records...)
}

// text is the payloads, in the order of delivery.
func (c *collector) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]string, len(c.records))
	for i, r := range c.records {
		out[i] = string(r.Data())
	}
	return strings.Join(out, " ")
}

// last is the payload delivered last.
func (c *collector) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.records) == 0 {
		return ""
	}
	return string(c.records[len(c.records)-1].Data())
}

// collect makes the worker gather records, and then do something. Nothing is
// checkpointed at its stop.
func (w *worker) collect(then func(ctx context.Context, in kcl.ProcessRecordsInput) error) *collector {
	c := &collector{}
	w.do = func(ctx context.Context, _ *processor, in kcl.ProcessRecordsInput) error {
		c.add(in.Records)
		return then(ctx, in)
	}
	w.shutdown = func(context.Context, *processor, kcl.ShutdownRequestedInput) error { return nil }
	return c
}

func nothing(context.Context, kcl.ProcessRecordsInput) error { return nil }

func everything(ctx context.Context, in kcl.ProcessRecordsInput) error {
	return in.Checkpointer.Checkpoint(ctx)
}

// counts is a metrics.Sink for counters.
type counts struct {
	mu sync.Mutex // guards of
	of map[string]float64
}

type count struct {
	c   *counts
	key string
}

func (c *counts) Series(d *metrics.Desc, _ ...string) metrics.Series { return count{c, d.Name} }
func (c *counts) Remove(*metrics.Desc, ...string)                    {}

func (c count) Record(v float64) {
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	c.c.of[c.key] += v
}

func (c *counts) get(d *metrics.Desc) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.of[d.Name])
}

// TestK07ResumeAtEverySubSequenceNumber checkpoints inside an aggregate, at one
// user record after the other, and starts again each time: exactly the rest is
// delivered. Where to start is decided behind the source, so that for one of the
// two every tenth will do.
func TestK07ResumeAtEverySubSequenceNumber(t *testing.T) {
	t.Parallel()
	n := testsize.Pick(100, 400, 1000)
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		payloads := make([]string, n)
		for i := range payloads {
			payloads[i] = strconv.Itoa(i)
		}
		r.putRaw([]byte("before"))
		seq := r.putRaw(pack(t, payloads))
		r.putRaw([]byte("after"))
		want := "before " + strings.Join(payloads, " ") + " after"

		var cfg scheduler.Config
		mode(&cfg)
		step := 1
		if cfg.RetrievalMode == scheduler.EFO {
			step = 10
		}
		first := 0 // of the rest
		for sub := step - 1; sub < n; sub += step {
			w := r.worker("w"+strconv.Itoa(sub), mode)
			at := kcl.ExtendedSequenceNumber{SequenceNumber: seq, SubSequenceNumber: int64(sub)}
			got := w.collect(func(ctx context.Context, in kcl.ProcessRecordsInput) error {
				for _, rec := range in.Records {
					if rec.Position() == at {
						return in.Checkpointer.CheckpointAt(ctx, at)
					}
				}
				return nil
			})
			w.start()
			r.eventually(time.Minute, fmt.Sprintf("the rest from %d", first), func() bool { return got.last() == "after" })
			require.NoError(t, w.stop())
			require.Equal(t, want, got.text())
			require.Equal(t, at, r.row(r.open()[0]).Checkpoint)
			first = sub + 1
			want = strings.Join(append(payloads[first:n:n], "after"), " ")
		}
		w := r.worker("last", mode)
		got := w.collect(nothing)
		w.start()
		time.Sleep(20 * time.Second)
		require.NoError(t, w.stop())
		require.Equal(t, "after", got.text())
	})
}

// TestK07FailureInsideAnAggregate: a batch that fails after a checkpoint in the
// middle is delivered again as a whole, and the next worker gets the rest.
func TestK07FailureInsideAnAggregate(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		r.putRaw(pack(t, []string{"a", "b", "c"}))
		w := r.worker("a", mode)
		tries := 0
		got := w.collect(func(ctx context.Context, in kcl.ProcessRecordsInput) error {
			if tries++; tries > 2 {
				return nil
			}
			require.NoError(t, in.Checkpointer.CheckpointAt(ctx, in.Records[1].Position()))
			return errors.New("not yet")
		})
		w.start()
		time.Sleep(time.Minute)
		require.NoError(t, w.stop())
		require.Equal(t, "a b c a b c a b c", got.text())

		w = r.worker("b", mode)
		got = w.collect(nothing)
		w.start()
		time.Sleep(20 * time.Second)
		require.NoError(t, w.stop())
		require.Equal(t, "c", got.text())
	})
}

// TestK01K02K03CorruptAggregates between good ones come raw, are counted and
// told once, without their content.
func TestK01K02K03CorruptAggregates(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		log := r.capture()
		bad := pack(t, []string{"canary"})
		bad[len(bad)-1] ^= 1
		r.putRaw(pack(t, []string{"a", "b"}))
		at := r.putRaw(bad)
		r.putRaw(bad)
		r.putRaw(pack(t, []string{"c"}))
		numbers := &counts{of: map[string]float64{}}
		w := r.worker("a", mode, func(c *scheduler.Config) { c.Metrics = metrics.New(numbers) })
		got := w.collect(everything)
		w.start()
		time.Sleep(20 * time.Second)
		r.putRaw(bad)
		time.Sleep(20 * time.Second)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		require.Equal(t, "a b "+string(bad)+" "+string(bad)+" c "+string(bad), got.text())
		require.Equal(t, 3, numbers.get(metrics.AggregatesCorrupt))
		require.Zero(t, numbers.get(metrics.RecordsDropped))
		require.Equal(t, 1, log.count("aggregate of the Kinesis Producer Library is not valid"))
		require.Equal(t, 1, log.count("position="+at))
		require.Zero(t, log.count("canary"))
	})
}

// TestK08E20NothingLeftToDeliver: batches without a user record move the
// checkpoint, and are progress.
func TestK08E20NothingLeftToDeliver(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", mode, func(c *scheduler.Config) {
			c.CheckpointInterval, c.Aggregates = time.Second, scheduler.SplitAggregatesInRange
		})
		got := w.collect(nothing)
		w.start()
		r.putRaw([]byte("before"))
		r.eventually(time.Minute, "the first record", func() bool { return got.text() == "before" })
		_, high := r.split(r.open()[0])
		late := pack(t, []string{"x", "y"}, "0", "1")
		var last string
		for range 200 {
			seq, err := r.srv.PutToShard(streamName, high, "key", late)
			require.NoError(t, err)
			last = seq
			time.Sleep(time.Second)
		}
		require.NoError(t, w.Healthy())
		r.eventually(time.Minute, "a checkpoint behind the last aggregate", func() bool {
			return r.row(high).Checkpoint.SequenceNumber == last
		})
		require.NoError(t, w.stop())
		require.Equal(t, "before", got.text())
	})
}

// TestK05K10FilterAtReshard: what a producer wrote for the parent comes to the
// children, and what belongs to the other child is written there again.
func TestK05K10FilterAtReshard(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		aggregates scheduler.Aggregates
		right      int
		dropped    int
	}{
		"all come":         {scheduler.SplitAggregates, 2, 0},
		"those in range":   {scheduler.SplitAggregatesInRange, 1, 1},
		"aggregates whole": {scheduler.KeepAggregates, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				low, high := r.split(r.open()[0])
				for _, put := range []struct {
					shard string
					data  []byte
				}{
					{low, pack(t, []string{"left", "right"}, "0", "340282366920938463463374607431768211455")},
					{high, pack(t, []string{"right"}, "340282366920938463463374607431768211455")},
				} {
					_, err := r.srv.PutToShard(streamName, put.shard, "key", put.data)
					require.NoError(t, err)
				}
				numbers := &counts{of: map[string]float64{}}
				w := r.worker("a", func(c *scheduler.Config) { c.Aggregates, c.Metrics = tc.aggregates, metrics.New(numbers) })
				got := w.collect(everything)
				w.start()
				time.Sleep(30 * time.Second)
				require.NoError(t, w.stop())
				if tc.aggregates == scheduler.KeepAggregates {
					require.Len(t, got.records, 2)
					require.False(t, got.records[0].Aggregated())
					return
				}
				require.Equal(t, 1, strings.Count(got.text(), "left"))
				require.Equal(t, tc.right, strings.Count(got.text(), "right"))
				require.Equal(t, tc.dropped, numbers.get(metrics.RecordsDropped))
			})
		})
	}
}

// TestK06NoFilterOnAutoDistribution: on a stream whose records the service
// places, keys say nothing about the shard, even where the service returns them.
// That the stream is one is known at the start, or asked when it matters; a
// question without an answer keeps the records.
func TestK06NoFilterOnAutoDistribution(t *testing.T) {
	t.Parallel()
	auto := func(r *rig) {
		_, err := r.admin.UpdateStreamRecordDistributionStrategy(r.t.Context(),
			&kinesis.UpdateStreamRecordDistributionStrategyInput{
				StreamARN:                  aws.String(r.srv.StreamARN(streamName)),
				RecordDistributionStrategy: types.RecordDistributionStrategyAuto,
			})
		require.NoError(r.t, err)
	}
	silent := func(r *rig) {
		r.srv.Inject(kinesistest.Fault{
			Operation: "DescribeStreamSummary",
			Do:        []kinesistest.Action{kinesistest.Fail("LimitExceededException", "later")},
		})
	}
	never := func(*rig) {}
	for name, tc := range map[string]struct {
		before, during func(r *rig)
		want           string
	}{
		"placed by key":      {never, never, "gate"},
		"from the start":     {auto, never, "first gate second"},
		"while it is read":   {never, auto, "gate second"},
		"it cannot be asked": {never, silent, "gate second"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{
					Name: streamName, Shards: 4,
					OnDemand: true,
				}}})
				put := func(data []byte) {
					_, err := r.srv.PutToShard(streamName, r.open()[3], "key", data)
					require.NoError(t, err)
				}
				belongsToFirst := func(payload string) { put(pack(t, []string{payload}, "0")) }
				w := r.worker("a", func(c *scheduler.Config) { c.Aggregates = scheduler.SplitAggregatesInRange })
				got := w.collect(func(ctx context.Context, in kcl.ProcessRecordsInput) error {
					if string(in.Records[len(in.Records)-1].Data()) == "gate" {
						time.Sleep(90 * time.Second)
					}
					return everything(ctx, in)
				})
				belongsToFirst("first")
				put([]byte("gate"))
				tc.before(r)
				w.start()
				time.Sleep(time.Minute) // the processor sleeps
				if name == "from the start" {
					_, err := r.admin.UpdateStreamRecordDistributionStrategy(t.Context(),
						&kinesis.UpdateStreamRecordDistributionStrategyInput{
							StreamARN:                  aws.String(r.srv.StreamARN(streamName)),
							RecordDistributionStrategy: types.RecordDistributionStrategyUserPartitionKey,
						})
					require.NoError(t, err)
				}
				belongsToFirst("second")
				tc.during(r)
				time.Sleep(2 * time.Minute)
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
				require.Equal(t, tc.want, got.text())
			})
		})
	}
}

// TestPE18StopBetweenPieces: a stop comes while the first piece of a batch is processed. It is the
// last one, and the next worker goes on behind it.
func TestPE18StopBetweenPieces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		filler := strings.Repeat("x", 400<<10)
		want := "0 0 1 1 2 2 3 3 4 4 5 5 6 6 7 7"
		for i := range 8 {
			r.putRaw(pack(t, []string{fmt.Sprint(filler, i), fmt.Sprint(i)}))
			time.Sleep(time.Second)
		}
		poll := func(c *scheduler.Config) { c.RetrievalMode = scheduler.Polling } // one batch has them all
		w := r.worker("a", poll)
		calls := 0
		got := w.collect(func(ctx context.Context, in kcl.ProcessRecordsInput) error {
			calls++
			time.Sleep(20 * time.Second)
			return everything(ctx, in)
		})
		w.start()
		r.eventually(time.Minute, "the first piece", func() bool { return got.text() != "" })
		require.NoError(t, w.stop())
		require.Equal(t, 1, calls)

		next := r.worker("b", poll)
		rest := next.collect(everything)
		next.start()
		time.Sleep(time.Minute)
		require.NoError(t, next.stop())
		require.Equal(t, want, strings.ReplaceAll(got.text()+" "+rest.text(), filler, ""),
			"nothing is missing, and nothing comes twice")
	})
}

// TestK06OneShardAsksForAll: every batch of every shard holds records that belong elsewhere, and
// how the stream places its records is asked once for all, also while there is no answer.
func TestK06OneShardAsksForAll(t *testing.T) {
	t.Parallel()
	for name, action := range map[string][]kinesistest.Action{
		"answered": {kinesistest.DelayAnswer(time.Second)},
		"refused":  {kinesistest.Fail("AccessDeniedException", "no")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shards, minutes := testsize.Pick(6, 20, 20), 3
				r := newRig(t, oneStream(shards))
				w := r.worker("a", func(c *scheduler.Config) { c.Aggregates = scheduler.SplitAggregatesInRange })
				w.collect(everything)
				w.start()
				r.eventually(time.Minute, "all are read", func() bool { return r.owned() == shards })
				before := r.srv.Calls("DescribeStreamSummary")
				r.srv.Inject(kinesistest.Fault{Operation: "DescribeStreamSummary", Do: action})
				elsewhere := pack(t, []string{"first", "last"}, "0", "340282366920938463463374607431768211455")
				for range minutes * 60 {
					for _, id := range r.open() {
						_, err := r.srv.PutToShard(streamName, id, "key", elsewhere)
						require.NoError(t, err)
					}
					time.Sleep(time.Second)
				}
				asked := r.srv.Calls("DescribeStreamSummary") - before
				require.Positive(t, asked)
				require.LessOrEqual(t, asked, map[string]int{"answered": minutes + 1, "refused": minutes*6 + 1}[name])
				require.NoError(t, w.stop())
			})
		})
	}
}

// TestAggregatesKeptFromNowOn: a checkpoint inside an aggregate is resumed
// there, also when aggregates are not split any more.
func TestAggregatesKeptFromNowOn(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		r.putRaw(pack(t, []string{"a", "b", "c"}))
		w := r.worker("a", mode)
		w.collect(func(ctx context.Context, in kcl.ProcessRecordsInput) error {
			return in.Checkpointer.CheckpointAt(ctx, in.Records[1].Position())
		})
		w.start()
		time.Sleep(20 * time.Second)
		require.NoError(t, w.stop())

		whole := pack(t, []string{"d", "e"})
		r.putRaw(whole)
		w = r.worker("b", mode, func(c *scheduler.Config) { c.Aggregates = scheduler.KeepAggregates })
		got := w.collect(everything)
		w.start()
		time.Sleep(20 * time.Second)
		require.NoError(t, w.stop())
		require.Equal(t, "c "+string(whole), got.text())
	})
}

// TestK09LargeBatchComesInPieces: what is split at a time is bounded, and only
// the last piece is at the end of the shard.
func TestK09LargeBatchComesInPieces(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		filler := strings.Repeat("x", 400<<10)
		var want []string
		for i := range 6 {
			pair := []string{fmt.Sprint(filler, i), fmt.Sprint(i)}
			want = append(want, pair...)
			r.putRaw(pack(t, pair))
			time.Sleep(time.Second)
		}
		shard := r.open()[0]
		r.split(shard)
		w := r.worker("a", mode)
		calls, end := 0, 0
		failed := false
		got := w.collect(func(ctx context.Context, in kcl.ProcessRecordsInput) error {
			calls++
			if in.AtShardEnd {
				require.Len(t, in.Children, 2)
				if end == 0 {
					end = calls
				}
			}
			size := 0
			for _, rec := range in.Records {
				size += len(rec.Data())
			}
			require.LessOrEqual(t, size, 1<<20)
			if calls == 2 && !failed {
				failed = true
				return errors.New("once")
			}
			return everything(ctx, in)
		})
		w.start()
		time.Sleep(time.Minute)
		require.True(t, r.row(shard).Finished())
		require.NoError(t, w.stop())
		require.Equal(t, 4, calls, "three pieces, one of them twice")
		var cfg scheduler.Config
		if mode(&cfg); cfg.RetrievalMode == scheduler.Polling {
			require.Equal(t, calls, end, "the last records come with the end of the shard")
		}
		last, texts := kcl.ExtendedSequenceNumber{}, []string(nil)
		for _, rec := range got.records {
			if rec.Position().Compare(last) > 0 { // the piece that failed comes again
				last, texts = rec.Position(), append(texts, string(rec.Data()))
			}
		}
		require.True(t, slices.Equal(want, texts), "%d records", len(texts))
	})
}
