package sim

import (
	"sync"
	"time"
)

// ties counts the instants at which two actors act. Actors are the workers and the world itself. A
// seed does not decide the order of two actors at one instant. So a play with a tie may differ from
// another play of the same scenario. Nanoseconds from the seed make ties rare. What one worker does
// for several shards at one instant is no tie.
type ties struct {
	mu    sync.Mutex // guards the fields below
	at    time.Time  // of the last act
	actor string     // of the last act
	n     int
}

// act notes that an actor acts now: it calls Kinesis or the lease table, or changes the world.
func (t *ties) act(actor string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Equal(t.at) && actor != t.actor {
		t.n++
	} else {
		t.at = now
	}
	t.actor = actor
}

// count returns the number of ties.
func (t *ties) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}
