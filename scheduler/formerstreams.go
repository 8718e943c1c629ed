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

// FormerStreamsDeletion selects the former streams whose leases are deleted.
type FormerStreamsDeletion int

// The values of FormerStreamsDeletion (FormerStreamsLeasesDeletionStrategy in the KCL).
const (
	// NoDeletion keeps all leases. A stream that comes back is read on from its checkpoints
	// (NO_STREAMS_LEASES_DELETION).
	NoDeletion FormerStreamsDeletion = iota
	// AutoDetectionAndDeferredDeletion deletes the leases of every stream that is in the lease table
	// and not in the list of streams (FORMER_STREAMS_AUTO_DETECTION_DEFERRED_DELETION).
	AutoDetectionAndDeferredDeletion
	// ProvidedListDeferredDeletion deletes the leases of the streams that Provided names and that are
	// not in the list of streams (PROVIDED_STREAMS_DEFERRED_DELETION).
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

// FormerStreams says when leases of former streams are deleted. A former stream is one that an
// application with several streams no longer reads. That includes deleted streams: a stream that is
// created again under its old name is another stream.
//
// A worker deletes leases of a stream only after it has seen no write to any of its leases for
// Wait. It deletes each lease only if that lease is unchanged. So any worker of this or another
// library that still reads the stream keeps the leases. A worker never deletes leases of another
// application, or of streams in a region of which it reads no stream. It deletes nothing while the
// list of streams is empty, or while the tracker fails. All workers delete, and several may do so
// at the same time.
type FormerStreams struct {
	// Deletion is the strategy. Defaults to NoDeletion.
	Deletion FormerStreamsDeletion
	// Wait is how long the leases of a former stream must not change before they are deleted
	// (waitPeriodToDeleteFormerStreams in the KCL). Each worker measures it from its own start.
	// Defaults to 1h (DefaultFormerStreamsWait). At least 1m. A value below three times FailoverTime
	// counts as three times FailoverTime.
	Wait time.Duration
	// Provided returns the streams whose leases may be deleted (streamIdentifiersForLeaseCleanup in
	// the KCL), with account, name and creation epoch, as in the lease keys. It is called at each
	// refresh of the list of streams, and may take 30 seconds. After an error nothing is deleted until
	// the next refresh. ProvidedListDeferredDeletion requires it; otherwise it must be nil.
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

// formerCleaner deletes the leases of former streams, if the policy allows it. It belongs to the
// goroutine of the tracker.
type formerCleaner struct {
	policy      FormerStreams
	wait        time.Duration
	application string
	streams     *streamSet
	table       *rowTable
	coord       *coordinator.Coordinator
	metrics     *metrics.Metrics
	log         *slog.Logger

	watch    shardsync.FormerWatch
	provided question // calls of policy.Provided
}

// cleanUp deletes leases of former streams after the wait. unopened has the names of the streams of
// the list that are not open yet.
func (f *formerCleaner) cleanUp(ctx context.Context, unopened map[string]bool) {
	if f.policy.Deletion == NoDeletion || f.coord.Err() != nil {
		return
	}
	former, err := f.formerRows(ctx, f.coord.Leases(), unopened)
	if err != nil {
		if ctx.Err() == nil {
			f.log.WarnContext(ctx, "former streams are unknown, deleting no leases", "err", err)
		}
		return
	}
	due := f.watch.Observe(time.Now(), former, f.wait)
	for _, rows := range due {
		f.delete(ctx, rows)
	}
	f.metrics.SetFormerStreams(f.watch.Streams())
}

// formerRows returns the rows of former streams. Every stream with the name of an unopened stream
// may be that stream, and counts as read.
func (f *formerCleaner) formerRows(
	ctx context.Context, rows []leases.Lease, unopened map[string]bool,
) ([]leases.Lease, error) {
	provided := map[string]bool{}
	if f.policy.Deletion == ProvidedListDeferredDeletion {
		var ids []kcl.StreamIdentifier
		err := f.provided.ask(ctx, func(ctx context.Context) (err error) {
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
	// Other workers of the application may read streams of another region.
	foreign := func(l leases.Lease) bool {
		return (l.Application != "" && l.Application != f.application) || !regions[l.StreamARN]
	}
	return slices.DeleteFunc(rows, func(l leases.Lease) bool {
		id, err := kcl.ParseStreamIdentifier(l.Stream)
		return err != nil || foreign(l) || current[l.Stream] || unopened[id.Name] ||
			(f.policy.Deletion == ProvidedListDeferredDeletion && !provided[l.Stream])
	}), nil
}

// delete deletes the leases of one former stream. It stops at a lease that has changed, because a
// worker reads the stream.
func (f *formerCleaner) delete(ctx context.Context, rows []leases.Lease) {
	log := f.log.With("stream", rows[0].Stream)
	for i, row := range rows {
		err := f.table.Delete(ctx, row, shardsync.RemovalExpects)
		if _, ok := errors.AsType[*leases.ConflictError](err); ok {
			f.watch.Forget(row.Stream)
			log.InfoContext(ctx, "lease of a former stream has changed, keeping its leases", "lease", row.Key, "deleted", i)
			return
		}
		if err != nil {
			if ctx.Err() == nil {
				f.metrics.LeaseStoreError("delete")
				log.WarnContext(ctx, "delete former lease failed, trying again", "lease", row.Key, "deleted", i, "err", err)
			}
			return
		}
	}
	log.InfoContext(ctx, "leases of a former stream deleted", "count", len(rows))
}
