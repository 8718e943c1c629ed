package polling

import (
	"time"

	"github.com/kinesis-go/kcl/internal/chance"
)

const (
	// callFloor is the service's limit: five GetRecords per second and shard.
	callFloor = 200 * time.Millisecond
	// readRate is how many bytes a second a shard gives to all its pollers. The largest answer has
	// ten MiB, which is five seconds of the rate.
	readRate = 2 << 20
	// answerBytes is the wanted size of one answer, a second of the rate. After the largest answer
	// the shard would refuse other pollers for seconds.
	answerBytes = readRate
	// firstRecords is how many records are asked for while their size is not known. With records of
	// more than two KiB, the first answer is larger than the wanted size.
	firstRecords = 1000

	// The reader claims a part of both limits. The part falls by half with the first refusal of
	// a row, and grows by a sixtieth a second. Pollers that all do so come to equal parts. If the
	// part grew faster, one poller might never be refused: it would come back at the very moment
	// when the shard gives again. The part never falls below that of five pollers, because a
	// poller that does not give way would starve the others.
	shareLoss   = 1.0 / 2
	shareGrowth = 1.0 / 60
	leastShare  = 1.0 / 5
)

// pace says when the next GetRecords may be sent. Both limits must count from no earlier than the
// service counts. The time between calls counts from when the call was sent, and the bytes from
// when the answer began to arrive.
type pace struct {
	next time.Time
	idle time.Duration // between two calls at the tip; 0 before the first answer

	claimed float64 // the claimed part at the time shared, if that is not zero
	shared  time.Time
}

// share is the part of the shard's limits that the reader claims now.
func (p *pace) share(now time.Time) float64 {
	if p.shared.IsZero() {
		return 1
	}
	return min(1, p.claimed+shareGrowth*now.Sub(p.shared).Seconds())
}

// refused notes that other pollers want the shard as well.
func (p *pace) refused(now time.Time) {
	p.claimed, p.shared = max(leastShare, p.share(now)*(1-shareLoss)), now
}

// sent notes that a call was sent.
func (p *pace) sent(now time.Time) { p.next = now.Add(scaled(callFloor, p.share(now))) }

// answered notes the answer to the call that was sent at the time sent. At the tip the wait between
// calls gets shorter while records come, and grows up to idle while none come. Elsewhere there is
// no such wait: a stretch of the shard may have no records, so an empty answer need not be the tip.
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

// wait is the time until the next call.
func (p *pace) wait(now time.Time) time.Duration { return max(0, p.next.Sub(now)) }

// delay is wait, mostly with a little more. A poller that came back at exactly the pace of the
// service would never be refused. Then the others would never be served.
func (p *pace) delay(now time.Time) time.Duration {
	wait := p.wait(now)
	if wait > 0 {
		wait += chance.N(callFloor/20, "pace")
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
