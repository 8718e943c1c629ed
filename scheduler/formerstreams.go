package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// FormerStreamsDeletion says which leases of former streams are deleted.
type FormerStreamsDeletion int

// The strategies of deletion (FormerStreamsLeasesDeletionStrategy in the KCL).
const (
	// NoDeletion keeps all leases: a stream that comes back goes on where it was,
	// whenever that is (NO_STREAMS_LEASES_DELETION).
	NoDeletion FormerStreamsDeletion = iota
	// AutoDetectionAndDeferredDeletion deletes the leases of every stream that the lease table knows
	// and the list of streams does not name (FORMER_STREAMS_AUTO_DETECTION_DEFERRED_DELETION).
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

// MarshalText implements [encoding.TextMarshaler] with [FormerStreamsDeletion.String].
func (d FormerStreamsDeletion) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// FormerStreams says what becomes of the leases of streams that an application
// with several streams does not read any more, those of deleted streams
// included: a stream that is created again under its old name is another one.
//
// Leases are deleted only by a worker that has not seen anybody write to any
// lease of the stream for all of Wait, and each only if it is still the same: a
// worker of this or another library that still reads the stream keeps them.
// Leases of another application, or of streams in a region where this worker
// reads none, are never deleted.
// Nothing is deleted while the list of streams is empty, or while the tracker
// fails. All workers do it; that several do it at once does no harm.
type FormerStreams struct {
	// Deletion is the strategy. Defaults to NoDeletion.
	Deletion FormerStreamsDeletion
	// Wait is how long nobody may have written to a former stream's leases before they are deleted;
	// each worker counts for itself, from its start on (waitPeriodToDeleteFormerStreams in the KCL).
	// Defaults to 1h (DefaultFormerStreamsWait); at least 1m, and three times FailoverTime counts when
	// that is more.
	Wait time.Duration
	// Provided names the streams whose leases may be deleted (streamIdentifiersForLeaseCleanup in the
	// KCL): account, name and creation epoch, as in the lease keys. It is asked at each refresh, may
	// take 30 seconds, and an error means that nothing is deleted now. Required by
	// ProvidedListDeferredDeletion, and must be nil otherwise.
	Provided func(ctx context.Context) ([]kcl.StreamIdentifier, error)
}

func (f FormerStreams) validate() error {
	switch {
	case f.Deletion < NoDeletion || f.Deletion > ProvidedListDeferredDeletion:
		return fmt.Errorf("scheduler: Config.FormerStreams.Deletion is %d: use scheduler.NoDeletion, "+
			"scheduler.AutoDetectionAndDeferredDeletion or scheduler.ProvidedListDeferredDeletion", int(f.Deletion))
	case f.Deletion == ProvidedListDeferredDeletion && f.Provided == nil:
		return errors.New("scheduler: Config.FormerStreams.Provided is missing: give a function that names the streams")
	case f.Deletion != ProvidedListDeferredDeletion && f.Provided != nil:
		return fmt.Errorf("scheduler: Config.FormerStreams.Provided is set, but Deletion is %s, which does not call "+
			"it: leave it out, or use ProvidedListDeferredDeletion", f.Deletion)
	}
	return nil
}

// formerCleaner deletes the leases of former streams, if that is the policy. It belongs to
// the goroutine of the tracker.
type formerCleaner struct {
	policy      FormerStreams
	wait        time.Duration
	application string
	streams     *streamSet
	table       *rowTable
	coord       *coordinator.Coordinator
	metrics     *metrics.Metrics
	log         *slog.Logger

	watch     shardsync.FormerWatch
	providing question
}

// cleanUp deletes the leases that are due. absent names streams of the list that are not open yet.
func (f *formerCleaner) cleanUp(ctx context.Context, absent map[string]bool) {
	if f.policy.Deletion == NoDeletion || f.coord.Err() != nil {
		return
	}
	former, err := f.formerRows(ctx, f.coord.Leases(), absent)
	if err != nil {
		if ctx.Err() == nil {
			f.log.WarnContext(ctx, "it is not known which streams are former ones, nothing is deleted", "err", err)
		}
		return
	}
	due := f.watch.Note(time.Now(), former, f.wait)
	for _, rows := range due {
		f.delete(ctx, rows)
	}
	f.metrics.SetFormerStreams(f.watch.Streams())
}

// formerRows selects the rows of streams that are not read any more. An absent stream may
// be any stream of its name.
func (f *formerCleaner) formerRows(
	ctx context.Context, rows []leases.Lease, absent map[string]bool,
) ([]leases.Lease, error) {
	provided := map[string]bool{}
	if f.policy.Deletion == ProvidedListDeferredDeletion {
		var ids []kcl.StreamIdentifier
		err := f.providing.ask(ctx, func(ctx context.Context) (err error) {
			ids, err = f.policy.Provided(ctx)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("ask Config.FormerStreams.Provided: %w", err)
		}
		for _, id := range ids {
			provided[id.String()] = true
		}
	}
	current, regions := map[string]bool{}, map[string]bool{"": true}
	for _, st := range f.streams.all() {
		current[st.label], regions[st.marks.StreamARN] = true, true
	}
	// Other workers of the application may read the streams of another region.
	foreign := func(l leases.Lease) bool {
		return (l.Application != "" && l.Application != f.application) || !regions[l.StreamARN]
	}
	return slices.DeleteFunc(rows, func(l leases.Lease) bool {
		id, err := kcl.ParseStreamIdentifier(l.Stream)
		return err != nil || foreign(l) || current[l.Stream] || absent[id.Name] ||
			(f.policy.Deletion == ProvidedListDeferredDeletion && !provided[l.Stream])
	}), nil
}

// delete deletes the leases of one former stream until one turns out to have
// changed: then somebody reads the stream after all.
func (f *formerCleaner) delete(ctx context.Context, rows []leases.Lease) {
	log := f.log.With("stream", rows[0].Stream)
	for i, row := range rows {
		err := f.table.Delete(ctx, row, untouched)
		if _, ok := errors.AsType[*leases.ConflictError](err); ok {
			f.watch.Forget(row.Stream)
			log.InfoContext(ctx, "a lease of a former stream has changed, none is deleted now", "lease", row.Key, "deleted", i)
			return
		}
		if err != nil {
			if ctx.Err() == nil {
				f.metrics.LeaseStoreError("delete")
				log.WarnContext(ctx, "deletion of a former lease failed, trying again", "lease", row.Key, "deleted", i, "err", err)
			}
			return
		}
	}
	log.InfoContext(ctx, "leases of a former stream deleted", "count", len(rows))
}
