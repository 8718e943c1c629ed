package polling

import (
	"errors"

	"github.com/kinesis-go/kcl/internal/awserr"
)

var (
	// ErrShardNotFound says that the stream exists and the shard does not: its
	// records have left the retention period, or it is so new that the service does
	// not show it yet, or the id belongs to another stream. Try again for some minutes.
	ErrShardNotFound = errors.New("polling: shard not found")

	// ErrInvalidPosition says that the service refuses the position: the
	// sequence number belongs to another shard or another stream. Reading does
	// not jump elsewhere; correct the checkpoint.
	ErrInvalidPosition = errors.New("polling: position refused")
)

// action is what follows from an error of a call.
type action int

const (
	actRetry    action = iota // transient: again after a backoff
	actThrottle               // too fast: again after a short backoff
	actSlow                   // needs a person (a key was disabled): again, slowly and loudly
	actRenew                  // the iterator is of no use: get another
	actLookup                 // something is gone: find out what
	actDenied                 // the credentials are refused: stop
	actStop                   // the request can never succeed: stop
)

func (a action) String() string {
	return [...]string{"retry", "throttle", "slow", "renew", "look up", "denied", "stop"}[a]
}

// classify is the one place that decides between trying again and giving up.
// Whatever it does not know is transient: giving up on a shard is the worse mistake.
func classify(err error) action {
	switch {
	case awserr.Throttled(err):
		return actThrottle
	case awserr.Is(err, "ExpiredIteratorException", "InvalidArgumentException"):
		return actRenew
	case awserr.Is(err, "ResourceNotFoundException"):
		return actLookup
	case awserr.KeyUnusable(err):
		return actSlow
	case awserr.Denied(err):
		return actDenied
	case awserr.Is(err, "ValidationException", "UnknownOperationException", "SerializationException"):
		return actStop
	}
	return actRetry
}
