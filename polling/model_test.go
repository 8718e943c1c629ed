package polling

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/retry"
)

// poller is an application in a model of a shard that several of them read.
type poller struct {
	greedy   bool // takes 10 MiB whenever it can, and asks every quarter of a second
	pace     pace
	throttle *retry.Backoff
	at       time.Time // of the next call
	refusals int       // in a row

	bytes, answers, refused int
	last                    time.Time
	gap                     time.Duration // the longest time without an answer
}

// shardModel is what the service counts: five calls and 2 MiB a second; an answer is refused while
// the bytes before are not paid.
type shardModel struct{ calls, bytes time.Time } // when each would be full again

func (s *shardModel) take(now time.Time, bytes int) bool {
	debt := func(full time.Time) time.Duration { return max(0, full.Sub(now)) }
	if debt(s.bytes) >= time.Second || debt(s.calls)+200*time.Millisecond > time.Second {
		return false
	}
	s.calls = now.Add(debt(s.calls) + 200*time.Millisecond)
	s.bytes = now.Add(debt(s.bytes) + time.Duration(bytes)*time.Second/readRate)
	return true
}

// model lets pollers read a shard for an hour. An answer has size bytes; at the tip there is as
// much as was asked for.
func model(pollers []*poller, size int, tip bool) {
	random := rand.New(rand.NewPCG(1, 1))
	begin := time.Now()
	var shard shardModel
	for _, p := range pollers {
		p.throttle = retry.New(firstThrottle, maxThrottle)
		p.at, p.last = begin.Add(time.Duration(random.IntN(1000))*time.Millisecond), begin
	}
	for {
		p := pollers[0]
		for _, q := range pollers {
			if q.at.Before(p.at) {
				p = q
			}
		}
		now := p.at
		if now.Sub(begin) > time.Hour {
			return
		}
		answer := size
		if p.greedy {
			answer = 10 << 20
		}
		p.pace.sent(now)
		if !shard.take(now, answer) {
			p.refused++
			if p.refusals++; p.refusals == 1 {
				p.pace.refused(now)
			}
			p.at = later(now.Add(p.throttle.Next()), now.Add(p.pace.delay(now)))
		} else {
			p.refusals = 0
			p.throttle.Reset()
			p.gap, p.last = max(p.gap, now.Sub(p.last)), now
			p.answers++
			p.bytes += answer
			p.pace.answered(now, now.Add(10*time.Millisecond), answer, true, tip, time.Second)
			p.at = now.Add(p.pace.delay(now))
		}
		if p.greedy {
			p.at = now.Add(250 * time.Millisecond)
		}
	}
}

// TestP04Model: an hour of one shard and many applications. Whatever they share, calls or bytes,
// they come to equal parts and leave little unused.
func TestP04Model(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 5, 8} {
		for name, c := range map[string]struct {
			size int
			tip  bool
			most float64 // bytes or calls in the hour
		}{
			"bytes": {size: answerBytes, most: readRate * 3600 / answerBytes},
			"calls": {size: 1000, tip: true, most: 5 * 3600},
		} {
			t.Run(fmt.Sprintf("%d share %s", n, name), func(t *testing.T) {
				t.Parallel()
				pollers := make([]*poller, n)
				for i := range pollers {
					pollers[i] = &poller{}
				}
				model(pollers, c.size, c.tip)
				all, refused, least, most := 0, 0, 1<<62, 0
				for _, p := range pollers {
					all += p.answers
					refused += p.refused
					least, most = min(least, p.answers), max(most, p.answers)
					require.Less(t, p.gap, 90*time.Second, "no application stalls")
				}
				t.Logf("%.0f%% used, %d answers and %d refusals, from %d to %d each", 100*float64(all)/c.most, all, refused, least,
					most)
				require.Greater(t, float64(all), 0.85*c.most)
				require.LessOrEqual(t, float64(most), 1.5*float64(least))
				if n == 1 {
					require.Zero(t, refused, "alone, every refusal is avoided")
				}
			})
		}
	}
	// One that does not give way does not starve one that does.
	greedy, ours := &poller{greedy: true}, &poller{}
	model([]*poller{greedy, ours}, answerBytes, false)
	t.Logf("against a greedy one: %d MiB of %d, the longest gap is %s", ours.bytes>>20, (ours.bytes+greedy.bytes)>>20,
		ours.gap)
	require.Greater(t, ours.bytes, (ours.bytes+greedy.bytes)/20)
	require.Less(t, ours.gap, 10*time.Minute)
}
