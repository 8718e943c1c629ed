package multilang

import (
	"errors"
	"fmt"

	"github.com/kinesis-go/kcl"
)

var (
	// ErrThrottled says that the lease table is throttled (ThrottlingException). The checkpoint was
	// repeated with a backoff. Try again later.
	ErrThrottled = errors.New("multilang: the lease table is throttled")

	// ErrDependency says that the daemon could not reach the lease table, or something else that it
	// needs (KinesisClientLibDependencyException). The checkpoint was repeated with a backoff. Try
	// again later.
	ErrDependency = errors.New("multilang: the daemon could not reach the lease table")

	// ErrInvalidState says that the daemon cannot checkpoint now (InvalidStateException). Its lease
	// table may be missing.
	ErrInvalidState = errors.New("multilang: the daemon cannot checkpoint in its state")
)

// DaemonError is what the daemon answered to a checkpoint that it did not write. With [errors.Is],
// ShutdownException is [kcl.ErrLeaseLost], and IllegalArgumentException is
// [kcl.ErrInvalidCheckpoint]. ThrottlingException is [ErrThrottled],
// KinesisClientLibDependencyException is [ErrDependency], and InvalidStateException is
// [ErrInvalidState]. Another exception is none of these.
type DaemonError struct {
	// Exception is the simple name of a Java class.
	Exception string
	// Position is what was to be checkpointed. It is zero for everything that was delivered.
	Position kcl.ExtendedSequenceNumber
}

// Error names the exception and the position.
func (e *DaemonError) Error() string {
	position := "all that was delivered"
	if !e.Position.IsZero() {
		position = e.Position.String()
	}
	return fmt.Sprintf("multilang: checkpoint of %s: the daemon answered %s", position, e.Exception)
}

// Unwrap returns the error that the exception stands for, or nil.
func (e *DaemonError) Unwrap() error {
	switch e.Exception {
	case "ShutdownException":
		return kcl.ErrLeaseLost
	case "IllegalArgumentException":
		return kcl.ErrInvalidCheckpoint
	case "ThrottlingException":
		return ErrThrottled
	case "KinesisClientLibDependencyException":
		return ErrDependency
	case "InvalidStateException":
		return ErrInvalidState
	}
	return nil
}

// passes tells whether the same checkpoint may succeed a moment later.
func passes(err error) bool {
	return errors.Is(err, ErrThrottled) || errors.Is(err, ErrDependency)
}
