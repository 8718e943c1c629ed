package scheduler

import "fmt"

// State is the state of a shard's consumer. The names are those of the KCL's ConsumerStates.
type State int

// The states of a shard's consumer. The zero value means that this worker has no consumer for the
// shard.
const (
	// StateNone: this worker does not consume the shard.
	StateNone State = iota
	// StateWaitingOnParents: this worker holds the lease, and a parent has not ended.
	StateWaitingOnParents
	// StateInitializing: the worker makes and initialises the processor.
	StateInitializing
	// StateProcessing: the worker reads and processes records.
	StateProcessing
	// StateShutdownRequested: the worker has asked the processor to finish.
	StateShutdownRequested
	// StateShuttingDown: the shard has ended, or the worker has lost the lease.
	StateShuttingDown
	// StateShutdownComplete: the processor gets no more calls.
	StateShutdownComplete
)

// String returns the KCL's name of the state.
func (s State) String() string {
	switch s {
	case StateNone:
		return "NONE"
	case StateWaitingOnParents:
		return "WAITING_ON_PARENT_SHARDS"
	case StateInitializing:
		return "INITIALIZING"
	case StateProcessing:
		return "PROCESSING"
	case StateShutdownRequested:
		return "SHUTDOWN_REQUESTED"
	case StateShuttingDown:
		return "SHUTTING_DOWN"
	case StateShutdownComplete:
		return "SHUTDOWN_COMPLETE"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// MarshalText implements [encoding.TextMarshaler] with [State.String].
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// transitions lists the states that may follow each state.
var transitions = map[State][]State{
	StateNone:              {StateWaitingOnParents},
	StateWaitingOnParents:  {StateInitializing, StateShutdownComplete},
	StateInitializing:      {StateProcessing, StateShuttingDown, StateShutdownComplete},
	StateProcessing:        {StateShutdownRequested, StateShuttingDown, StateShutdownComplete},
	StateShutdownRequested: {StateShuttingDown, StateShutdownComplete},
	StateShuttingDown:      {StateInitializing, StateShutdownComplete}, // initialising follows with another processor
}
