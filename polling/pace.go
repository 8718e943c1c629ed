package polling

import "time"

const (
	// callFloor is the service's limit: five GetRecords per second and shard.
	callFloor = 200 * time.Millisecond
	// readRate is the bytes per second that a shard gives to all its pollers.
	// Ten MiB, the largest answer, are five seconds of it.
	readRate = 2 << 20
)

// pace says when the next GetRecords may be sent. Both limits count from a
// time that is certain to be no earlier than the service's own: the floor from
// our sending, the budget from the arrival of the whole answer.
type pace struct{ next time.Time }

// sent notes a call that was sent.
func (p *pace) sent(now time.Time) { p.next = now.Add(callFloor) }

// answered notes what the call sent at sent brought. Once the reader has
// caught up, idle goes by from call to call.
func (p *pace) answered(sent, now time.Time, bytes int, idle time.Duration) {
	p.next = later(sent.Add(max(callFloor, idle)), now.Add(time.Duration(bytes)*time.Second/readRate))
}

// wait is how long until the next call.
func (p *pace) wait(now time.Time) time.Duration { return max(0, p.next.Sub(now)) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
