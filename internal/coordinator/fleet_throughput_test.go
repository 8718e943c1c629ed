package coordinator_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
)

// byThroughput is a fleet whose consumers only measure. Shard i delivers rate(i) bytes a second.
type byThroughput struct {
	*fleettest.Fleet
	rate func(i int) int

	mu     sync.Mutex // guards the fields below
	reader map[string]string
	moves  int
}

func newByThroughput(t *testing.T, shards int, rate func(i int) int) *byThroughput {
	f := &byThroughput{Fleet: fleettest.New(t, 0), rate: rate, reader: map[string]string{}}
	for i := range shards {
		require.NoError(t, f.Store.Create(t.Context(), leases.Lease{
			Key: fmt.Sprintf("shard-%03d", i), ThroughputKBps: -1, Checkpoint: number(1),
		}))
	}
	return f
}

func (f *byThroughput) start(id string, change ...func(*coordinator.Config)) {
	measure := func(c *coordinator.Config) { c.Balance, c.Consume = leases.BalanceThroughput, f.consume(id) }
	f.Start(id, append([]func(*coordinator.Config){measure}, change...)...)
}

// consume is the consumer of one worker.
func (f *byThroughput) consume(id string) func(context.Context, *holder.Holder) {
	return func(ctx context.Context, h *holder.Holder) {
		key := h.Lease().Key
		f.mu.Lock()
		if last := f.reader[key]; last != "" && last != id {
			f.moves++
		}
		f.reader[key] = id
		f.mu.Unlock()
		var i int
		_, _ = fmt.Sscanf(key, "shard-%d", &i)
		for every := time.NewTicker(5 * time.Second); ; {
			select {
			case <-h.Stopping():
				every.Stop()
				return
			case <-ctx.Done():
				every.Stop()
				return
			case <-every.C:
				h.Delivered(5 * f.rate(i))
			}
		}
	}
}

// loads returns what each worker delivers in KB/s, and how many moves there have
// been since the last call.
func (f *byThroughput) loads() (load map[string]int, moves int) {
	l, err := f.Store.List(f.T.Context())
	require.NoError(f.T, err)
	load = map[string]int{}
	for _, row := range l.Leases {
		var i int
		_, _ = fmt.Sscanf(row.Key, "shard-%d", &i)
		load[row.Owner] += f.rate(i) / 1024
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	moves, f.moves = f.moves, 0
	return load, moves
}

func (f *byThroughput) spread(load map[string]int) float64 {
	all := slices.Sorted(maps.Values(load))
	sum := 0
	for _, n := range all {
		sum += n
	}
	return float64(all[len(all)-1]-all[0]) / (float64(sum) / float64(len(all)))
}

// TestL02SkewedShardsEvenOut: a few shards carry most of the data. The workers
// even out what they deliver, a worker that joins gets its share, and then all but
// nothing moves for six hours.
func TestL02SkewedShardsEvenOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newByThroughput(t, 20, func(i int) int { return 1024 * 1000 / (i + 1) }) // 1000, 500, 333, ... KB/s
		for _, id := range []string{"a", "b", "c"} {
			f.start(id)
		}
		time.Sleep(time.Minute)
		before, _ := f.loads() // shared out by number
		time.Sleep(29 * time.Minute)
		load, moves := f.loads()
		t.Logf("from %v to %v in %d moves", before, load, moves)
		require.Less(t, f.spread(load), 0.4, "%v: leases without data count a little, too", load)
		require.LessOrEqual(t, moves, 10)
		time.Sleep(testsize.Pick(5*time.Minute, 20*time.Minute, 6*time.Hour))
		_, moves = f.loads()
		require.LessOrEqual(t, moves, 1, "what differs by a fifth may be found to differ by more")

		f.start("d")
		time.Sleep(30 * time.Second)
		load, moves = f.loads()
		t.Logf("with d after 30 s: %v in %d moves", load, moves)
		require.Positive(t, load["d"], "%v", load)
		time.Sleep(30 * time.Minute)
		load, moves = f.loads()
		t.Logf("with d: %v in %d moves", load, moves)
		require.Len(t, load, 4)
		require.LessOrEqual(t, slices.Max(slices.Collect(maps.Values(load))), 1100,
			"no worker has more than its heaviest shard and a little")
		time.Sleep(testsize.Pick(5*time.Minute, 20*time.Minute, 6*time.Hour))
		_, moves = f.loads()
		require.LessOrEqual(t, moves, 1)
		require.Empty(t, f.Warned.Take())
	})
}

// TestL02ThroughputKeepsMaxLeases: a worker with little to do takes no more
// leases than it may.
func TestL02ThroughputKeepsMaxLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newByThroughput(t, 12, func(i int) int {
			if i == 0 {
				return 1 << 20
			}
			return 100
		})
		for _, id := range []string{"a", "b"} {
			f.start(id, func(c *coordinator.Config) { c.MaxLeasesForWorker = 8 })
		}
		for range testsize.Pick(30, 60, 120) {
			time.Sleep(time.Minute)
			l, err := f.Store.List(t.Context())
			require.NoError(t, err)
			n := map[string]int{}
			for _, row := range l.Leases {
				n[row.Owner]++
			}
			require.LessOrEqual(t, max(n["a"], n["b"]), 8, "%v", n)
		}
		_, moves := f.loads()
		require.LessOrEqual(t, moves, 4)
	})
}

// TestL02LoadThatWanders lets another quarter of the shards carry the data each
// half hour: leases follow, but none moves more than once in five minutes.
func TestL02LoadThatWanders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		f := newByThroughput(t, 16, func(i int) int {
			if i%4 == int(time.Since(begun)/(30*time.Minute))%4 {
				return 200 << 10
			}
			return 5 << 10
		})
		for _, id := range []string{"a", "b", "c", "d"} {
			f.start(id)
		}
		total := 0
		for hour := range testsize.Pick(1, 2, 6) {
			time.Sleep(58 * time.Minute)
			load, moves := f.loads()
			total += moves
			t.Logf("hour %d: %v after %d moves", hour, load, moves)
			require.Less(t, f.spread(load), 0.5, "%v", load)
			time.Sleep(2 * time.Minute)
		}
		require.LessOrEqual(t, total, 12*8, "eight moves each half hour")
	})
}

// TestL02LoadThatShifts lets half of the shards, with the same workers, deliver
// five times as much from some moment on. All but nothing moves before, though data may
// come in bursts; and then the workers share the new load soon.
func TestL02LoadThatShifts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		burst       int // times what is usual, for ten seconds each five minutes
		first, then time.Duration
		moves       int // in then; one of a lease in a day would be twelve in half of it
		within      time.Duration
		spread      float64 // from 1.33
	}{
		{"steady", 1, 20 * time.Minute, testsize.Pick(10*time.Minute, 10*time.Minute, 2*time.Hour), 0, 15 * time.Minute, 0.5},
		{
			"in bursts", 30, time.Hour, testsize.Pick(time.Hour, time.Hour, 12*time.Hour), testsize.Pick(4, 4, 12),
			30 * time.Minute, 0.95,
		},
	}[:testsize.Pick(1, 2, 2)] {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const shards = 24
				begun, rng := time.Now(), rand.New(rand.NewPCG(2, 3))
				var bursts [shards][]time.Duration
				for i := range bursts {
					for at := time.Duration(0); at < 24*time.Hour; at += time.Duration(rng.ExpFloat64() * float64(5*time.Minute)) {
						bursts[i] = append(bursts[i], at)
					}
				}
				var usual [shards]atomic.Int64
				f := newByThroughput(t, shards, func(i int) int {
					now := time.Since(begun)
					at, _ := slices.BinarySearch(bursts[i], now)
					if at > 0 && now-bursts[i][at-1] < 10*time.Second {
						return int(usual[i].Load()) * tt.burst
					}
					return int(usual[i].Load())
				})
				for i := range usual {
					usual[i].Store(10 << 10)
				}
				for _, id := range []string{"a", "b", "c"} {
					f.start(id)
				}
				time.Sleep(tt.first)
				_, first := f.loads()
				time.Sleep(tt.then)
				_, moves := f.loads()
				require.LessOrEqual(t, moves, tt.moves)

				l, err := f.Store.List(t.Context())
				require.NoError(t, err)
				slices.SortFunc(l.Leases, func(a, b leases.Lease) int {
					return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Key, b.Key))
				})
				for _, row := range l.Leases[:shards/2] {
					var i int
					_, _ = fmt.Sscanf(row.Key, "shard-%d", &i)
					usual[i].Store(50 << 10)
				}
				load := func() map[string]int {
					l, err := f.Store.List(t.Context())
					require.NoError(t, err)
					load := map[string]int{}
					for _, row := range l.Leases {
						var i int
						_, _ = fmt.Sscanf(row.Key, "shard-%d", &i)
						load[row.Owner] += int(usual[i].Load() >> 10)
					}
					return load
				}
				before := load()
				require.Greater(t, f.spread(before), 1.0)
				time.Sleep(tt.within)
				_, after := f.loads()
				t.Logf("%d moves at first, %d in %v; from %v to %v in %d moves and %v", first, moves, tt.then, before,
					load(), after, tt.within)
				require.Less(t, f.spread(load()), tt.spread)
				require.LessOrEqual(t, after, shards/2)
				require.Empty(t, f.Warned.Take())
			})
		})
	}
}

// TestLeaderEvensOutWhatLasts: under a leader, too, bursts move all but nothing,
// and loads that change for good move leases.
func TestLeaderEvensOutWhatLasts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		usual := make([]atomic.Int64, testsize.Pick(6, 6, 12))
		f := newByThroughput(t, 0, func(i int) int {
			if rand.IntN(30) == 0 {
				return 30 * int(usual[i].Load())
			}
			return int(usual[i].Load())
		})
		fleet := fleettest.NewKCL3(t, 0)
		for i := range usual {
			usual[i].Store(10 << 10)
			fleet.Create(fmt.Sprintf("shard-%03d", i))
		}
		for _, id := range []string{"a", "b", "c"} {
			fleet.Start(id, kcl3, func(c *coordinator.Config) { c.Consume = f.consume(id) })
		}
		time.Sleep(8 * time.Minute)
		_, first := f.loads()
		time.Sleep(testsize.Pick(8*time.Minute, 8*time.Minute, time.Hour))
		_, moves := f.loads()
		require.LessOrEqual(t, moves, 2)

		before := fleet.Rows()
		for key, row := range before {
			var i int
			_, _ = fmt.Sscanf(key, "shard-%d", &i)
			if row.Owner == "a" {
				usual[i].Store(1000 << 10)
			}
		}
		time.Sleep(20 * time.Minute) // twice the time over which the leader averages
		_, after := f.loads()
		left := 0
		for key, row := range fleet.Rows() {
			if before[key].Owner == "a" && row.Owner == "a" {
				left++
			}
		}
		t.Logf("%d moves at first, %d then, %d after the shift", first, moves, after)
		require.Less(t, left, len(usual)/3, "a keeps all that is busy")
	})
}
