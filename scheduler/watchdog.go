package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/eventstream"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// Layer is the part of the system in which a shard is stuck.
type Layer string

// The layers that a [StallError] can name, from the socket upwards.
const (
	// LayerService: the service refuses or fails the calls.
	LayerService Layer = "service"
	// LayerStream: the connection or the event stream brings no data, or only empty batches although
	// the shard has data.
	LayerStream Layer = "stream"
	// LayerDecoder: an answer or an event cannot be decoded, or Config.Decoder does not return.
	LayerDecoder Layer = "decoder"
	// LayerProcessor: the processor does not return, or keeps failing.
	LayerProcessor Layer = "processor"
	// LayerCheckpointStore: calls of the lease store get no answer or keep failing. These are
	// checkpoints, and calls before the first record and at the shard's end.
	LayerCheckpointStore Layer = "checkpoint store"
	// LayerLease: no worker renews the shard's lease, or the row of the lease cannot be read or is
	// lost.
	LayerLease Layer = "lease"
	// LayerParent: the shard waits for a parent that makes no progress or has lost its row.
	LayerParent Layer = "parent"
)

// StallError says that a shard makes no progress. [Scheduler.Healthy] returns one for each such
// shard.
type StallError struct {
	// Stream is the stream of the shard.
	Stream kcl.StreamIdentifier
	// ShardID such as shardId-000000000000.
	ShardID string
	// LeaseKey is the key of the shard's row in the lease table.
	LeaseKey string
	// Layer is the layer that is stuck.
	Layer Layer
	// Since is when the shard got stuck, by the local clock.
	Since time.Time
	// Err is the error of the layer; nil without one.
	Err error
}

// Error implements error.
func (e *StallError) Error() string {
	text := fmt.Sprintf("stream %s shard %s makes no progress since %s: stuck in the %s layer", e.Stream.Name, e.ShardID,
		e.Since.UTC().Format(time.RFC3339), e.Layer)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the error of the layer.
func (e *StallError) Unwrap() error { return e.Err }

// Healthy returns nil while this worker does its work. Otherwise it returns all reasons in one
// error. Run may not run. The lease store may be unreachable, or too slow for Config.FailoverTime.
// A stream may have been deleted, or cannot be listed or opened. The stream tracker may fail. Or a
// shard with data makes no progress (a [*StallError], which names the layer). Healthy is cheap and
// makes no remote call. Any goroutine may call it at any time, for example a readiness probe.
func (s *Scheduler) Healthy() error {
	phase, detail := s.status.phase()
	if phase != phaseRunning {
		return fmt.Errorf("scheduler: not running, but %s: %s", phase, detail)
	}
	now := time.Now()
	errs := s.watchdog.troubles(now)
	errs = append(errs, s.tracker.tracked.trouble(now, s.cfg.StallTimeout)...)
	for _, stall := range s.watchdog.stalls(now) {
		errs = append(errs, stall)
	}
	return errors.Join(errs...)
}

// watchdog finds the shards that make no progress. Its loop logs them and sets the metric. Other
// goroutines may call stalls and troubles at any time.
type watchdog struct {
	streams      *streamSet
	coord        *coordinator.Coordinator
	consumers    *registry
	seen         *rowMemory
	tip          *tipStop
	failover     time.Duration
	stallTimeout time.Duration
	syncInterval time.Duration
	log          *slog.Logger

	orphans     orphans
	waits       waits
	standstills standstills
}

// troubles returns the errors of the lease table and of whole streams. A table may fail for two
// FailoverTimes, because leases expire only after that.
func (w *watchdog) troubles(now time.Time) []error {
	var errs []error
	if err := w.orphans.storeTrouble(now, 2*w.failover); err != nil {
		errs = append(errs, err)
	}
	if err := w.coord.TooSlow(); err != nil {
		errs = append(errs, err)
	}
	for _, st := range w.streams.all() {
		if err := st.trouble(now, w.stallTimeout, w.syncInterval); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// orphanTime is how long the row of a healthy lease may look unchanged to other workers. A lease is
// renewed each third of FailoverTime and listed each fifth. The leases of a dead worker are taken
// within two FailoverTimes.
func orphanTime(failover time.Duration) time.Duration { return 3 * failover }

// stalls lists the shards that make no progress.
func (w *watchdog) stalls(now time.Time) []*StallError {
	var out []*StallError
	consumers := w.consumers.all()
	for _, c := range consumers {
		layer, since, err := c.progress.stuck(now, w.stallTimeout, c.delivery.report(), c.holder.Valid())
		if layer == "" && c.progress.stateNow() == StateWaitingOnParents { // waits is as old as the last round
			if since, err = w.waits.stuck(now, w.stallTimeout, c.key); err != nil {
				layer = LayerParent
			}
		}
		if layer != "" {
			out = append(out, &StallError{
				Stream: c.stream.id, ShardID: c.shard.ID, LeaseKey: c.key, Layer: layer, Since: since, Err: err,
			})
		}
	}
	out = append(out, w.seen.stalls()...)
	reported := map[string]bool{}
	for _, stall := range out {
		reported[stall.LeaseKey] = true
	}
	for _, stall := range slices.Concat(
		w.orphans.stalls(now, max(w.stallTimeout, orphanTime(w.failover)), consumers),
		w.standstills.stalls(now, w.stallTimeout, consumers),
	) {
		if !reported[stall.LeaseKey] { // one reason for a shard
			reported[stall.LeaseKey] = true
			out = append(out, stall)
		}
	}
	return out
}

// stuck names the layer in which a consumer is stuck, or returns an empty layer. It checks the
// deepest layer first, because that layer holds up the others.
func (p *progress) stuck(
	now time.Time, limit time.Duration, ck checkpoint.Report, valid bool,
) (Layer, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := func(t time.Time) bool { return !t.IsZero() && now.Sub(t) >= limit }
	switch {
	case old(ck.WritingSince):
		return LayerCheckpointStore, ck.WritingSince, errNoStoreAnswer
	case old(ck.FailingSince):
		return LayerCheckpointStore, ck.FailingSince, ck.Failure
	case old(p.storing.since):
		return LayerCheckpointStore, p.storing.since, p.storing.err
	case p.lost.err != nil && p.state == StateWaitingOnParents:
		return LayerParent, p.lost.since, p.lost.err
	case old(p.listing.since):
		return LayerService, p.listing.since, p.listing.err
	case old(p.asking):
		return LayerCheckpointStore, p.asking, errors.New("the lease store does not answer")
	case old(p.callSince) && p.call == callDecode:
		return LayerDecoder, p.callSince, errors.New("the Decoder has not returned")
	case old(p.callSince):
		return LayerProcessor, p.callSince, fmt.Errorf("%s has not returned", p.call)
	case old(p.processor.since):
		return LayerProcessor, p.processor.since, p.processor.err
	case p.call != "" || p.processor.err != nil || p.state != StateProcessing:
		// The processor works, or a parent has not ended, so the shard is not stuck.
		return "", time.Time{}, nil
	case !valid && old(p.moved):
		return LayerLease, p.moved, errors.New("the lease could not be renewed")
	case p.refusal.err != nil:
		return readLayer(p.refusal.err), p.refusal.since, p.refusal.err
	case old(p.reading.since):
		return readLayer(p.reading.err), p.reading.since, p.reading.err
	case old(p.heard):
		return readLayer(p.reading.err), p.heard, firstError(p.reading.err, errors.New("nothing arrives"))
	case p.behind > 0 && old(p.moved):
		return LayerStream, p.moved, errors.New("only empty batches arrive, although the shard has data")
	}
	return "", time.Time{}, nil
}

var errNoStoreAnswer = errors.New("the lease store does not answer a checkpoint")

// readLayer returns the layer that caused an error of a source.
func readLayer(err error) Layer {
	if err == nil {
		return LayerStream
	}
	if awserr.Code(err) == "other" {
		return LayerService // the answer has an error status, so its body does not matter
	}
	if awserr.Cut(err) {
		return LayerStream // the connection broke within an answer
	}
	if undecodable(err) {
		return LayerDecoder
	}
	if _, ok := errors.AsType[smithy.APIError](err); ok {
		return LayerService
	}
	if awserr.Code(err) == "transport" || errors.Is(err, context.DeadlineExceeded) {
		return LayerStream
	}
	return LayerService
}

// undecodable tells whether received bytes are not a valid event or answer.
func undecodable(err error) bool {
	if _, ok := errors.AsType[*smithy.DeserializationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[eventstream.ChecksumError](err); ok {
		return true
	}
	if _, ok := errors.AsType[eventstream.LengthError](err); ok {
		return true
	}
	_, ok := errors.AsType[*json.SyntaxError](err)
	return ok
}

// loop sets the metric of each shard, and logs when a stall begins and ends. It ends with ctx.
func (w *watchdog) loop(ctx context.Context) {
	ticker := time.NewTicker(min(w.stallTimeout/10, 5*time.Second))
	defer ticker.Stop()
	known := map[string]*StallError{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		w.observe(now)
		stalled := map[string]*StallError{}
		for _, e := range w.stalls(now) {
			stalled[e.LeaseKey] = e
			if old := known[e.LeaseKey]; old == nil || old.Layer != e.Layer {
				w.log.ErrorContext(ctx, "shard makes no progress", "stream", e.Stream.Name, "shard", e.ShardID, "layer", e.Layer,
					"since", e.Since, "err", e.Err)
			}
		}
		for key, c := range w.consumers.all() {
			c.metrics.SetStalled(stalled[key] != nil)
			c.warnUncheckpointed(ctx, now, w.stallTimeout)
		}
		for key, e := range known {
			if stalled[key] == nil {
				w.log.InfoContext(ctx, "shard makes progress again", "stream", e.Stream.Name, "shard", e.ShardID, "layer", e.Layer)
			}
		}
		known = stalled
	}
}

// observe records which leases no worker renews, which ancestors shards wait for, and whether the
// table can be listed.
func (w *watchdog) observe(now time.Time) {
	if !w.orphans.readable(now, w.coord.Err()) {
		return // the rows are too old to judge
	}
	rows := w.coord.Leases()
	w.observeWaits(now, rows)
	w.seen.observe(now, rows)
	keys, unread := make(map[string]bool, len(rows)), make(map[string]bool, len(rows))
	known, consumers := make(map[string]bool, len(rows)), w.consumers.all()
	for _, row := range rows {
		unread[row.Key] = !row.Finished()
		known[row.Key] = true
		w.standstills.observe(now, row, consumers[row.Key], w.stallTimeout+maxBackoff)
	}
	w.standstills.keep(known)
	for _, row := range rows {
		if st := w.streams.ofRow(row); st != nil && !w.tip.reached(row) && !waitsUnowned(st, row, unread) {
			keys[row.Key] = true
			w.orphans.observe(now, st, row, w.failover)
		}
	}
	w.orphans.keep(keys)
}

// waitsUnowned tells whether a lease has no owner and a parent is unread. The watchdog then reports
// the parent, not this lease.
func waitsUnowned(st *stream, row leases.Lease, unread map[string]bool) bool {
	return row.ActualOwner() == "" && slices.ContainsFunc(row.Parents, func(p string) bool {
		return p != row.ShardID && unread[shardsync.LeaseKey(st.id, p, st.multi)]
	})
}
