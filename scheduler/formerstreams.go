package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
)

// FormerStreamsDeletion says which leases of former streams are deleted.
type FormerStreamsDeletion int

// The strategies of deletion (FormerStreamsLeasesDeletionStrategy in the KCL).
const (
	// NoDeletion keeps all leases: a stream that comes back goes on where it was,
	// whenever that is (NO_STREAMS_LEASES_DELETION).
	NoDeletion FormerStreamsDeletion = iota
	// AutoDetectionAndDeferredDeletion deletes the leases of every stream that the
	// lease table knows and the list of streams does not name
	// (FORMER_STREAMS_AUTO_DETECTION_DEFERRED_DELETION).
	AutoDetectionAndDeferredDeletion
	// ProvidedListDeferredDeletion deletes those of the streams that Provided
	// names, and that the list does not (PROVIDED_STREAMS_DEFERRED_DELETION).
	ProvidedListDeferredDeletion
)

// String returns the KCL's name.
func (d FormerStreamsDeletion) String() string {
	switch d {
	case NoDeletion:
		return "NO_STREAMS_LEASES_DELETION"
	case AutoDetectionAndDeferredDeletion:
		return "FORMER_STREAMS_AUTO_DETECTION_DEFERRED_DELETION"
	case ProvidedListDeferredDeletion:
		return "PROVIDED_STREAMS_DEFERRED_DELETION"
	}
	return fmt.Sprintf("FormerStreamsDeletion(%d)", int(d))
}

// FormerStreams says what becomes of the leases of streams that an application
// with several streams does not read any more, those of deleted streams
// included: a stream that is created again under its old name is another one.
//
// Leases are deleted only by a worker that has not seen anybody write to any
// lease of the stream for all of Wait, and each only if it is still the same: a
// worker of this or another library that still reads the stream keeps them.
// Nothing is deleted while the list of streams is empty, or while the tracker
// fails. All workers do it; that several do it at once does no harm.
type FormerStreams struct {
	// Deletion is the strategy. Defaults to NoDeletion.
	Deletion FormerStreamsDeletion
	// Wait is how long nobody may have written to a former stream's leases before
	// they are deleted; each worker counts for itself, from its start on
	// (waitPeriodToDeleteFormerStreams in the KCL). Defaults to 1h
	// (DefaultFormerStreamsWait); at least 1m, and three times FailoverTime counts
	// when that is more.
	Wait time.Duration
	// Provided names the streams whose leases may be deleted
	// (streamIdentifiersForLeaseCleanup in the KCL): account, name and creation
	// epoch, as in the lease keys. It is asked at each refresh, may take 30 seconds,
	// and an error means that nothing is deleted now. Required by
	// ProvidedListDeferredDeletion, and must be nil otherwise.
	Provided func(ctx context.Context) ([]kcl.StreamIdentifier, error)
}

func (f FormerStreams) validate() error {
	switch {
	case f.Deletion < NoDeletion || f.Deletion > ProvidedListDeferredDeletion:
		return fmt.Errorf("scheduler: Config.FormerStreams.Deletion is %d: use scheduler.NoDeletion, scheduler.AutoDetectionAndDeferredDeletion or scheduler.ProvidedListDeferredDeletion", int(f.Deletion))
	case f.Deletion == ProvidedListDeferredDeletion && f.Provided == nil:
		return errors.New("scheduler: Config.FormerStreams.Provided is missing, which ProvidedListDeferredDeletion asks: give a function that names the streams")
	case f.Deletion != ProvidedListDeferredDeletion && f.Provided != nil:
		return fmt.Errorf("scheduler: Config.FormerStreams.Provided is set, but Deletion is %s, which does not ask it: leave it out, or use ProvidedListDeferredDeletion", f.Deletion)
	}
	return nil
}
