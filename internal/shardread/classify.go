package shardread

import (
	"time"

	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/chance"
)

// Action is what a reader does after an error of a call or of an event stream.
type Action int

// The actions. Each reader knows only some of them.
const (
	Retry    Action = iota // the failure is temporary: try again after a backoff
	Throttle               // the calls came too fast: try again after a short backoff
	InUse                  // another subscription holds the shard: try again each second, later after a backoff
	Slow                   // a person must repair something, such as a disabled key: try again rarely
	Renew                  // the shard iterator is not valid: get another one
	Position               // the service refuses the position: find out why
	Lookup                 // the shard, the stream or the stream consumer is missing: find out which
	Denied                 // the service refuses the credentials: stop
	Stop                   // the request can never succeed: stop
)

// String returns the action in words.
func (a Action) String() string {
	return [...]string{"retry", "throttle", "in use", "slow", "renew", "position", "look up", "denied", "stop"}[a]
}

// Classify returns the action for an error that means the same to both readers. An unknown error
// counts as temporary: a reader that gives up a shard by mistake does more harm than a retry.
func Classify(err error) Action {
	switch {
	case awserr.Is(err, "ResourceNotFoundException"):
		return Lookup
	case awserr.KeyUnusable(err):
		return Slow
	case awserr.Denied(err):
		return Denied
	case awserr.Is(err, "ValidationException", "UnknownOperationException", "SerializationException"):
		return Stop
	}
	return Retry
}

const (
	// FirstBackoff is the approximate wait after the first failure.
	FirstBackoff = 500 * time.Millisecond

	slowBackoff = 30 * time.Second
)

// SlowWait returns the wait of [Slow]: 15 to 45 seconds.
func SlowWait() time.Duration { return slowBackoff/2 + chance.N(slowBackoff, "slow") }
