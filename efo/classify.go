package efo

import (
	"github.com/kinesis-go/kcl/internal/awserr"
)

// action is what follows from an error of the call or of the stream.
type action int

const (
	actRetry    action = iota // transient: again after a backoff
	actInUse                  // another subscription holds the shard: again at the floor, then after a backoff
	actSlow                   // needs a person (a key was disabled): again, slowly and loudly
	actLookup                 // something is gone: find out what
	actPosition               // the starting position is refused
	actDenied                 // the credentials are refused: stop
	actStop                   // the request can never succeed: stop
)

func (a action) String() string {
	return [...]string{"retry", "in use", "slow", "look up", "position", "denied", "stop"}[a]
}

// classify is the one place that decides between trying again and giving up.
// Whatever it does not know is transient: giving up on a shard is the worse mistake.
func classify(err error) action {
	switch {
	case awserr.Is(err, "ResourceInUseException"):
		return actInUse
	case awserr.Is(err, "ResourceNotFoundException"):
		return actLookup
	case awserr.Is(err, "InvalidArgumentException"):
		return actPosition
	case awserr.KeyUnusable(err):
		return actSlow
	case awserr.Denied(err):
		return actDenied
	case awserr.Is(err, "ValidationException", "UnknownOperationException", "SerializationException"):
		return actStop
	}
	return actRetry
}
