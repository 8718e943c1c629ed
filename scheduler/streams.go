package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// stream is one stream that is read, as the service knows it.
type stream struct {
	where     string // in the configuration, for errors
	cfg       StreamConfig
	id        kcl.StreamIdentifier
	label     string    // names it in logs; with several streams as the rows do
	created   time.Time // zero when the service does not say
	multi     bool      // the lease keys carry the stream
	marks     leases.Marks
	metrics   *metrics.Stream
	lineage   *lineage
	placing   placing
	retention retention
	lookups   *efo.Lookups
	// Shards that fail for the same reason at the same time find out, and put right, together.
	examining, registering *retry.Shared
	stopped                chan struct{} // closed when the stream is not read any more
	first                  *shardList    // of the shard sync: the first list of Run
	absent                 absences
	anchor                 string // of the shard sync: key of the row that this worker made first, see claim

	mu          sync.Mutex // guards the fields below
	stopErr     error
	claimed     bool // the table and the stream's rows in it are this application's
	consumerARN string
	refused     error     // why there is no consumer
	register    schedule  // of trying to register it again
	synced      time.Time // last synchronisation without an error
	syncing     streak
	syncWanted  bool               // out of turn
	bad         []*leases.RowError // rows that cannot be read
	began       leases.Origin      // where the application began to read it, as the rows tell
	toldBegan   bool               // that this is not what is configured
}

func newStream(where string, cfg StreamConfig, id kcl.StreamIdentifier, label string, l *lineage) *stream {
	return &stream{
		where: where, cfg: cfg, id: id, label: label, lineage: l, lookups: efo.NewLookups(),
		placing: placing{shared: retry.NewShared()}, retention: retention{shared: retry.NewShared()},
		examining: retry.NewShared(), registering: retry.NewShared(), stopped: make(chan struct{}),
	}
}

func (st *stream) consumer() string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.consumerARN
}

func (st *stream) setConsumer(arn string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.consumerARN, st.refused, st.register = arn, nil, schedule{}
}

// refuse records why the stream has no consumer, unless its consumer is no longer was.
func (st *stream) refuse(was string, err error) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.consumerARN != was {
		return false
	}
	st.consumerARN, st.refused = "", err
	st.register.failed(time.Now())
	return true
}

// refusal says why there is no stream consumer; nil when there is one.
func (st *stream) refusal() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.refused
}

func (st *stream) registerDue() time.Time {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.register.due
}

// err says why the stream is not read any more; nil while it is.
func (st *stream) err() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.stopErr
}

// stop ends reading the stream: its consumers are asked to finish. Its rows stay.
func (st *stream) stop(err error) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stopErr != nil {
		return false
	}
	st.stopErr = err
	close(st.stopped)
	return true
}

// isClaimed tells whether the stream's rows are known to be this application's.
// Before that none is taken.
func (st *stream) isClaimed() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.claimed
}

func (st *stream) setClaimed() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.claimed = true
}

// wantSync asks for a synchronisation out of turn.
func (st *stream) wantSync() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.syncWanted = true
}

// takeSync tells whether one was asked for since the last call.
func (st *stream) takeSync() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	wanted := st.syncWanted
	st.syncWanted = false
	return wanted
}

func (st *stream) setSynced(err error, bad []*leases.RowError) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err != nil {
		st.syncing.failed(err)
		return
	}
	st.syncing, st.synced, st.bad = streak{}, time.Now(), bad
}

// syncState returns the last good synchronisation, and what is wrong.
func (st *stream) syncState() (time.Time, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stopErr != nil {
		return st.synced, st.stopErr
	}
	return st.synced, st.syncing.err
}

// trouble is what Healthy tells about the stream as a whole. What has not failed
// and not come to an end either is seen by the age of the last good
// synchronisation, of which there should be one in interval.
func (st *stream) trouble(now time.Time, limit, interval time.Duration) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.stopErr != nil:
		return fmt.Errorf("scheduler: stream %s is not read any more: %w", st.label, st.stopErr)
	case errors.Is(st.syncing.err, errRowsVanished):
		return fmt.Errorf("scheduler: %w", st.syncing.err)
	case st.syncing.err != nil && now.Sub(st.syncing.since) >= limit:
		return fmt.Errorf("scheduler: the shards of stream %s cannot be listed since %s (last synchronised %s): %w", st.label, st.syncing.since.UTC().Format(time.RFC3339), stamp(st.synced), st.syncing.err)
	case !st.synced.IsZero() && now.Sub(st.synced) >= limit+2*interval:
		return fmt.Errorf("scheduler: the shards of stream %s were last synchronised %s, although that is due each %s: the service or the lease store does not come to an end with an answer", st.label, stamp(st.synced), interval)
	case len(st.bad) > 0:
		return fmt.Errorf("scheduler: %d row(s) of the lease table cannot be read, and their shards are not: %w", len(st.bad), st.bad[0])
	}
	return nil
}

// stamp is a time for people, who read "never" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return "at " + t.UTC().Format(time.RFC3339)
}

// inRows is what the stream's rows say of it.
func (st *stream) inRows() string {
	if !st.multi {
		return ""
	}
	return st.label
}

// owns tells whether a row is one of this stream's.
func (st *stream) owns(row leases.Lease) bool { return row.Stream == st.inRows() }

// accepts tells whether a row of this stream may be taken: the stream is being
// read, and the row was made for it and for this application.
func (st *stream) accepts(row leases.Lease) bool {
	return st.err() == nil && st.isClaimed() && st.sameCreation(row.StreamCreated) && st.marks.Check(row) == nil
}

// syncOptions says of the stream what new rows carry.
func (st *stream) syncOptions(list *shardList) shardsync.Options {
	return shardsync.Options{Stream: st.id, Multi: st.multi, PinnedAt: list.pin, StreamCreated: st.created, Application: st.marks.Application}
}

// sameCreation compares creation times to the second, which is what the
// KCL's identifiers keep. A row of another library has none.
func (st *stream) sameCreation(created time.Time) bool {
	return created.IsZero() || st.created.IsZero() || created.Unix() == st.created.Unix()
}

// resource names the stream of a configuration for people.
func (c StreamConfig) resource() string {
	if c.ARN != "" {
		return c.ARN
	}
	return "stream " + c.Name
}

// identifier says of the stream of a configuration what that tells.
func (c StreamConfig) identifier() kcl.StreamIdentifier {
	if id, err := kcl.ParseStreamARN(c.ARN); err == nil {
		return id
	}
	return kcl.StreamIdentifier{Name: c.Name, ARN: c.ARN}
}

// describeAll asks for the streams of the configuration. Of several streams those
// that are not ready, or of which the service cannot tell now, are left to the
// stream tracker: they keep the others from nothing.
func (s *Scheduler) describeAll(ctx context.Context) ([]*stream, error) {
	var streams []*stream
	for i, cfg := range s.cfg.Streams {
		err := s.persist(ctx, "describe stream", func(ctx context.Context) error {
			st, err := s.control.describe(ctx, fmt.Sprintf("Config.Streams[%d]", i), cfg)
			switch {
			case err == nil:
				streams = append(streams, st)
			case s.cfg.multi() && retryable(err) == tryAgain:
				s.log.WarnContext(ctx, "stream cannot be read yet, the others are read meanwhile", "stream", cfg.resource(), "err", err)
				return nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return streams, nil
}

// checkForm tells whether rows have the keys of an application with several
// streams, or of one with one stream. The other form's checkpoints would be
// taken for none at all, and everything read again from the initial position.
func checkForm(multi bool, rows []leases.Lease) error {
	for _, row := range rows {
		switch {
		case multi && row.Stream == "":
			return fmt.Errorf("%w: row %q belongs to an application with one stream, whose keys are plain shard ids, and this one has several, whose keys are account:stream:epoch:shardId: "+
				"give it a lease table of its own (checkpoints are not carried over), or read that one stream, named in Config.Streams", leases.ErrForeignTable, row.Key)
		case !multi && row.Stream != "":
			return fmt.Errorf("%w: row %q belongs to an application with several streams, whose keys are account:stream:epoch:shardId, and this one has one stream, whose keys are plain shard ids: "+
				"give it a lease table of its own (checkpoints are not carried over), or name the stream by Config.StreamTracker, which has keys of that form for one stream too", leases.ErrForeignTable, row.Key)
		}
	}
	return nil
}

// checkRows finds rows of another form, of another application or stream, and
// those that were made for another stream of this name. With several streams the
// latter have keys of their own, see replaces.
func (st *stream) checkRows(rows []leases.Lease) error {
	if err := checkForm(st.multi, rows); err != nil {
		return err
	}
	for _, row := range rows {
		if err := st.marks.Check(row); err != nil {
			return foreign{err}
		}
		if st.owns(row) && !st.sameCreation(row.StreamCreated) {
			return st.recreated(row.StreamCreated, st.created, row.StreamARN == st.marks.StreamARN)
		}
	}
	return nil
}

// replaces tells whether there are rows of an earlier stream with this one's
// account and name, which was deleted.
func (st *stream) replaces(rows []leases.Lease) bool {
	if !st.multi {
		return false
	}
	last := "" // rows of one stream come in groups
	for _, row := range rows {
		if row.Stream == last || st.owns(row) {
			continue
		}
		last = row.Stream
		id, err := kcl.ParseStreamIdentifier(row.Stream)
		if err == nil && id.Name == st.id.Name && id.AccountID == st.id.AccountID && id.CreationEpoch < st.id.CreationEpoch {
			return true
		}
	}
	return false
}

// kinesisBegan is when the service did: no stream was created before.
var kinesisBegan = time.Date(2013, time.November, 14, 0, 0, 0, 0, time.UTC).Unix()

// checkEpoch finds rows of another library that name this stream by a number
// which cannot be the time when any of its name was created. The stream would be
// read from the initial position, whatever those rows say.
func (st *stream) checkEpoch(rows []leases.Lease) error {
	if !st.multi || st.created.IsZero() || st.hasRows(rows) {
		return nil
	}
	last := "" // rows of one stream come in groups
	for _, row := range rows {
		if row.Stream == last || !row.StreamCreated.IsZero() {
			continue
		}
		last = row.Stream
		id, err := kcl.ParseStreamIdentifier(row.Stream)
		if err != nil || id.Name != st.id.Name || id.AccountID != st.id.AccountID {
			continue
		}
		if id.CreationEpoch < kinesisBegan || id.CreationEpoch > st.created.Unix() {
			return fmt.Errorf("%w: the lease table has leases of stream %s by the name of %s, which another library made, but the stream was created at %s (%d): "+
				"to go on with their checkpoints set CreationEpoch of the stream to %d; to begin anew use another table (Config.Table)",
				leases.ErrForeignTable, st.id.Name, id, st.created.UTC().Format(time.RFC3339), st.created.Unix(), id.CreationEpoch)
		}
	}
	return nil
}

// recreated is the error of a stream whose rows were made for an earlier one of
// its name. Only rows that have this stream's mark are advised to be deleted: the
// name stands for another stream now, so that one is gone. Rows without a mark
// may be those of a stream that is still read.
func (st *stream) recreated(was, now time.Time, marked bool) error {
	err := fmt.Errorf("%w: stream %s was created at %s, but its leases were made for one created at %s: their checkpoints mean nothing here",
		kcl.ErrStreamRecreated, st.id.Name, now.UTC().Format(time.RFC3339), was.UTC().Format(time.RFC3339))
	switch {
	case st.multi && st.cfg.CreationEpoch == 0: // seen while it was read; the new one has keys of its own
		return fmt.Errorf("%w; the new one is read by leases of its own", err)
	case st.multi && marked:
		return fmt.Errorf("%w; delete them to start anew with the initial position (`kclctl leases delete -all -stream %s -table TABLE`)", err, st.label)
	case marked:
		return fmt.Errorf("%w; delete its rows from the lease table, or use another table, to start anew with the initial position (`kclctl leases delete -all -table TABLE`); "+
			"if it is the same stream with the same records, keep its checkpoints (`kclctl leases adopt -application %s -stream %s -table TABLE`)", err, st.marks.Application, st.id.ARN)
	}
	return fmt.Errorf("%w; use another table (Config.Table) to start anew with the initial position: the leases do not say whose they are, and another stream may be read by them; "+
		"if it is the same stream with the same records, keep its checkpoints (`kclctl leases adopt -application %s -stream %s -table TABLE`)", err, st.marks.Application, st.id.ARN)
}
