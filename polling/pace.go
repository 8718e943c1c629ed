package polling

import (
	"math/rand/v2"
	"time"
)

const (
	// callFloor is the service's limit: five GetRecords per second and shard.
	callFloor = 200 * time.Millisecond
	// readRate is the bytes per second that a shard gives to all its pollers.
	// Ten MiB, the largest answer, are five seconds of it.
	readRate = 2 << 20
	// answerBytes is what one answer should have, a second of the rate: after
	// the ten MiB that one can have, other pollers would be refused for seconds.
	answerBytes = readRate

	// The part of both that this reader claims falls by half with the first
	// refusal of a row, and grows by a sixtieth a second: pollers that do
	// likewise come to equal parts. Growing faster would favour the one that is
	// never refused, because it comes back at the very moment when the shard
	// gives again. The part never falls below what five pollers have, or one
	// that does not give way would starve the others.
	shareLoss   = 1.0 / 2
	shareGrowth = 1.0 / 60
	leastShare  = 1.0 / 5
)

// pace says when the next GetRecords may be sent. Both limits count from a
// time that is certain to be no earlier than the service's own: the floor from
// our sending, the budget from when the answer began to arrive.
type pace struct {
	next time.Time
	idle time.Duration // between calls at the tip; 0 before the first answer

	claimed float64 // at the time shared; meaningless while that is zero
	shared  time.Time
}

// share is the part of the shard's limits that the reader claims now.
func (p *pace) share(now time.Time) float64 {
	if p.shared.IsZero() {
		return 1
	}
	return min(1, p.claimed+shareGrowth*now.Sub(p.shared).Seconds())
}

// refused notes that others want the shard as well.
func (p *pace) refused(now time.Time) {
	p.claimed, p.shared = max(leastShare, p.share(now)*(1-shareLoss)), now
}

// sent notes a call that was sent.
func (p *pace) sent(now time.Time) { p.next = now.Add(scaled(callFloor, p.share(now))) }

// answered notes what the call sent at sent brought. At the tip a reader rests
// from call to call: less and less while records come, and up to idle while
// none do. Elsewhere it does not: a shard may be sparse, and an empty answer is
// no sign of the tip.
func (p *pace) answered(sent, now time.Time, bytes int, records, tip bool, idle time.Duration) {
	switch {
	case !tip:
		p.idle = min(callFloor, idle)
	case p.idle == 0:
		p.idle = idle
	case records:
		p.idle = min(max(callFloor, p.idle/2), idle)
	default:
		p.idle = min(2*p.idle, idle)
	}
	share := p.share(now)
	rest := scaled(callFloor, share)
	if tip {
		rest = max(rest, p.idle)
	}
	p.next = later(sent.Add(rest), now.Add(scaled(time.Duration(bytes)*time.Second/readRate, share)))
}

// wait is how long until the next call.
func (p *pace) wait(now time.Time) time.Duration { return max(0, p.next.Sub(now)) }

// turn is wait, and now and then a moment more. A poller that came back at
// exactly the pace of the service would never be refused, and others never
// served.
func (p *pace) turn(now time.Time) time.Duration {
	wait := p.wait(now)
	if wait > 0 {
		wait += rand.N(callFloor / 20)
	}
	return wait
}

func scaled(d time.Duration, share float64) time.Duration { return time.Duration(float64(d) / share) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
