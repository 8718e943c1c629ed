package kcl

import "errors"

var (
	// ErrLeaseLost says that another worker owns the shard now. It is the cause that ends the
	// context of a processor, and checkpoints return it. Stop working on the shard. The new owner
	// starts after the last checkpoint.
	ErrLeaseLost = errors.New("kcl: lease lost")

	// ErrShutdownTimeout is the cause that ends the context of a processor when a shutdown has
	// taken too long.
	ErrShutdownTimeout = errors.New("kcl: shutdown took longer than the grace period")

	// ErrRestart is returned or wrapped by a [Processor] when this instance cannot go on. A
	// process that it drives may have died, for example. The instance gets LeaseLost as its last
	// call, and its context ends. Its checkpointer refuses everything, with errors that wrap
	// ErrRestart and ErrLeaseLost. After the usual backoff the factory makes another instance. The
	// new instance is initialised at the last accepted checkpoint and gets all later records
	// again. The worker keeps the lease.
	ErrRestart = errors.New("kcl: the processor asks to be replaced")

	// ErrInvalidCheckpoint says that a position may not be checkpointed: it was not delivered,
	// lies before the last checkpoint or belongs to another shard. Nothing was written. It is a
	// mistake of the caller.
	ErrInvalidCheckpoint = errors.New("kcl: position cannot be checkpointed")

	// ErrStreamNotFound says that the stream does not exist, or no longer.
	ErrStreamNotFound = errors.New("kcl: stream not found")

	// ErrStreamRecreated says that the lease table was made for another stream of the same name.
	// That stream was deleted, and this one was created.
	ErrStreamRecreated = errors.New("kcl: stream was created again under the same name")

	// ErrShardNotFound says that the stream exists and the service does not know the shard. The
	// shard's records may have left the retention period, or the id may belong to another stream.
	// The service may also not show a new shard yet. Try again for some minutes.
	ErrShardNotFound = errors.New("kcl: shard not found")

	// ErrInvalidPosition says that the service refuses the position: the sequence
	// number belongs to another shard or another stream. The reader skips no
	// records: correct the checkpoint.
	ErrInvalidPosition = errors.New("kcl: position refused")

	// ErrAccessDenied says that the credentials lack a permission. The wrapping error names the
	// action and the resource.
	ErrAccessDenied = errors.New("kcl: access denied")
)
