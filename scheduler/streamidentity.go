package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// streamIdentity identifies a stream and its rows. It does not change.
type streamIdentity struct {
	field   string // of the configuration, such as Config.Streams[0], for errors
	cfg     StreamConfig
	id      kcl.StreamIdentifier
	label   string    // names the stream in logs; if multi is set, also in rows
	created time.Time // zero if the service does not say
	multi   bool      // lease keys name the stream
	marks   shardsync.Marks
}

// resource names the stream of a configuration in messages.
func (c StreamConfig) resource() string {
	if c.ARN != "" {
		return c.ARN
	}
	return "stream " + c.Name
}

// identifier returns the known parts of the identifier of a configured stream.
func (c StreamConfig) identifier() kcl.StreamIdentifier {
	if id, err := kcl.ParseStreamARN(c.ARN); err == nil {
		return id
	}
	return kcl.StreamIdentifier{Name: c.Name, ARN: c.ARN}
}

// rowStream returns Lease.Stream of the stream's rows.
func (st *streamIdentity) rowStream() string {
	if !st.multi {
		return ""
	}
	return st.label
}

// hasRow tells whether a row belongs to this stream.
func (st *streamIdentity) hasRow(row leases.Lease) bool { return row.Stream == st.rowStream() }

// syncOptions returns the values that new rows of the stream get. bad are the unreadable rows.
func (st *streamIdentity) syncOptions(list *shardList, bad ...*leases.RowError) shardsync.Options {
	return shardsync.Options{
		Stream: st.id, Multi: st.multi, PinnedAt: list.pin, StreamCreated: st.created,
		Application: st.marks.Application, Unreadable: bad,
	}
}

// sameCreation compares creation times in whole seconds, because the KCL's identifiers have whole
// seconds. An unknown time equals every time: rows of other libraries have none.
func (st *streamIdentity) sameCreation(created time.Time) bool {
	return created.IsZero() || st.created.IsZero() || created.Unix() == st.created.Unix()
}

func (st *streamIdentity) hasRows(rows []leases.Lease) bool {
	return slices.ContainsFunc(rows, st.hasRow)
}

// rowsOf selects the rows of the stream.
func (st *streamIdentity) rowsOf(rows []leases.Lease) []leases.Lease {
	var mine []leases.Lease // the table may have many more rows of other streams
	for _, row := range rows {
		if st.hasRow(row) {
			mine = append(mine, row)
		}
	}
	return mine
}

// keysProveStream tells whether lease keys prove that rows belong to the stream. Such keys have the
// stream's account, name and creation time. They do not have its region.
func (st *streamIdentity) keysProveStream() bool {
	return st.multi && st.id.CreationEpoch == st.created.Unix()
}

// errNoPin returns the error for a start at LATEST that cannot be pinned.
func (st *streamIdentity) errNoPin() error {
	return fmt.Errorf("LATEST of stream %s needs the service's time, and its answer to ListShards has no Date: use "+
		"kcl.AtTimestamp or kcl.TrimHorizon, or give each lease at LATEST a time (`kclctl leases set-checkpoint`)", st.label)
}

// checkKeyForm returns an error unless all keys have the form of this application: that for one
// stream, or that for several. Rows with the other form would count for no stream. Then everything
// would be read again from the initial position.
func checkKeyForm(multi bool, rows []leases.Lease) error {
	for _, row := range rows {
		switch {
		case multi && row.Stream == "":
			return fmt.Errorf("%w: row %q belongs to an application with one stream, whose keys are plain shard ids, and "+
				"this one has several, whose keys are account:stream:epoch:shardId: "+
				"use another lease table (reading then begins without checkpoints), or read one stream, named in "+
				"Config.Streams", leases.ErrForeignTable, row.Key)
		case !multi && row.Stream != "":
			return fmt.Errorf("%w: row %q belongs to an application with several streams, whose keys are "+
				"account:stream:epoch:shardId, and this one has one stream, whose keys are plain shard ids: "+
				"use another lease table (reading then begins without checkpoints), or name the stream by "+
				"Config.StreamTracker, whose keys have the form for several streams", leases.ErrForeignTable, row.Key)
		}
	}
	return nil
}

// checkRows returns an error for rows with keys of the other form, rows of another application or
// stream, and rows of an earlier stream of this name. If multi is set, rows of an earlier stream
// have other keys, see replacesStream.
func (st *streamIdentity) checkRows(rows []leases.Lease) error {
	if err := checkKeyForm(st.multi, rows); err != nil {
		return err
	}
	for _, row := range rows {
		if err := st.marks.Check(row); err != nil {
			return foreign{err}
		}
		if st.hasRow(row) && !st.sameCreation(row.StreamCreated) {
			return st.errRecreated(row.StreamCreated, st.created, row.StreamARN == st.marks.StreamARN)
		}
	}
	return nil
}

// replacesStream tells whether there are rows of a deleted stream with the account and name of this
// stream.
func (st *streamIdentity) replacesStream(rows []leases.Lease) bool {
	if !st.multi {
		return false
	}
	last := "" // rows of one stream come in groups
	for _, row := range rows {
		if row.Stream == last || st.hasRow(row) {
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

// kinesisLaunch is when the service began. No stream is older.
var kinesisLaunch = time.Date(2013, time.November, 14, 0, 0, 0, 0, time.UTC).Unix()

// checkEpoch returns an error for rows of another library that name this stream with an impossible
// creation time. Without the error, reading would begin at the initial position instead of the
// checkpoints of those rows.
func (st *streamIdentity) checkEpoch(rows []leases.Lease) error {
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
		if id.CreationEpoch < kinesisLaunch || id.CreationEpoch > st.created.Unix() {
			return fmt.Errorf("%w: another library made the leases of stream %s with the name %s, but the stream was "+
				"created at %s (%d): to keep their checkpoints, set CreationEpoch of the stream to %d; to start anew, use "+
				"another table (Config.Table)",
				leases.ErrForeignTable, st.id.Name, id, st.created.UTC().Format(time.RFC3339), st.created.Unix(), id.CreationEpoch)
		}
	}
	return nil
}

// errRecreated returns the error of a stream, created at now, whose rows were made for an earlier
// stream of its name, created at before. If the rows have this stream's mark, the earlier stream
// was deleted, and the error advises to delete its rows. Rows without a mark may belong to a stream
// that is still read.
func (st *streamIdentity) errRecreated(before, now time.Time, marked bool) error {
	err := fmt.Errorf("%w: stream %s was created at %s, its leases are for one created at %s: their checkpoints are void",
		kcl.ErrStreamRecreated, st.id.Name, now.UTC().Format(time.RFC3339), before.UTC().Format(time.RFC3339))
	switch {
	case st.multi && st.cfg.CreationEpoch == 0: // the new stream has other keys
		return fmt.Errorf("%w; the new stream gets new leases", err)
	case st.multi && marked:
		return fmt.Errorf("%w; delete them to start anew with the initial position (`kclctl leases delete -all -stream %s "+
			"-table TABLE`)", err, st.label)
	case marked:
		return fmt.Errorf("%w; delete its rows from the lease table, or use another table, to start anew (`kclctl leases "+
			"delete -all -table TABLE`); if the records are the same, keep the checkpoints (`kclctl leases adopt "+
			"-application %s -stream %s -table TABLE`)", err, st.marks.Application, st.id.ARN)
	}
	return fmt.Errorf("%w; use another table (Config.Table) to start anew with the initial position: the leases name no "+
		"stream, and may belong to another one; if the records are the same, keep the checkpoints (`kclctl leases adopt "+
		"-application %s -stream %s -table TABLE`)", err, st.marks.Application, st.id.ARN)
}
