package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// streamIdentity is what tells a stream and its rows from others. It does not change.
type streamIdentity struct {
	where   string // in the configuration, for errors
	cfg     StreamConfig
	id      kcl.StreamIdentifier
	label   string    // names the stream in logs; with several streams as the rows do
	created time.Time // zero if the service does not say
	multi   bool      // lease keys carry the stream
	marks   leases.Marks
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

// inRows is Lease.Stream of the stream's rows.
func (st *streamIdentity) inRows() string {
	if !st.multi {
		return ""
	}
	return st.label
}

// owns tells whether a row is one of this stream's.
func (st *streamIdentity) owns(row leases.Lease) bool { return row.Stream == st.inRows() }

// syncOptions says of the stream what new rows carry.
func (st *streamIdentity) syncOptions(list *shardList) shardsync.Options {
	return shardsync.Options{
		Stream: st.id, Multi: st.multi, PinnedAt: list.pin, StreamCreated: st.created,
		Application: st.marks.Application,
	}
}

// sameCreation compares creation times to the second, which is what the
// KCL's identifiers keep. A row of another library has none.
func (st *streamIdentity) sameCreation(created time.Time) bool {
	return created.IsZero() || st.created.IsZero() || created.Unix() == st.created.Unix()
}

func (st *streamIdentity) hasRows(rows []leases.Lease) bool {
	return slices.ContainsFunc(rows, st.owns)
}

// rowsOf selects the rows of the stream.
func (st *streamIdentity) rowsOf(rows []leases.Lease) []leases.Lease {
	var mine []leases.Lease // the table may have many more rows of other streams
	for _, row := range rows {
		if st.owns(row) {
			mine = append(mine, row)
		}
	}
	return mine
}

// keyed tells whether lease keys prove the stream: they have its account, name and creation
// time, though not its region.
func (st *streamIdentity) keyed() bool { return st.multi && st.id.CreationEpoch == st.created.Unix() }

// undated says that LATEST cannot be pinned.
func (st *streamIdentity) undated() error {
	return fmt.Errorf("the service's answer to ListShards has no Date, which LATEST of stream %s needs: use "+
		"kcl.AtTimestamp or kcl.TrimHorizon, or give each lease at LATEST a time (`kclctl leases set-checkpoint`)", st.label)
}

// checkForm tells whether rows have the keys of an application with several
// streams, or of one with one stream. The other form's checkpoints would be
// taken for none at all, and everything read again from the initial position.
func checkForm(multi bool, rows []leases.Lease) error {
	for _, row := range rows {
		switch {
		case multi && row.Stream == "":
			return fmt.Errorf("%w: row %q belongs to an application with one stream, whose keys are plain shard ids, and "+
				"this one has several, whose keys are account:stream:epoch:shardId: "+
				"give it a lease table of its own (checkpoints are not carried over), or read that one stream, named in "+
				"Config.Streams", leases.ErrForeignTable, row.Key)
		case !multi && row.Stream != "":
			return fmt.Errorf("%w: row %q belongs to an application with several streams, whose keys are "+
				"account:stream:epoch:shardId, and this one has one stream, whose keys are plain shard ids: "+
				"give it a lease table of its own (checkpoints are not carried over), or name the stream by "+
				"Config.StreamTracker, which has keys of that form for one stream too", leases.ErrForeignTable, row.Key)
		}
	}
	return nil
}

// checkRows finds rows of another form, of another application or stream, and
// those that were made for another stream of this name. With several streams the
// latter have keys of their own, see replaces.
func (st *streamIdentity) checkRows(rows []leases.Lease) error {
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
func (st *streamIdentity) replaces(rows []leases.Lease) bool {
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
		if id.CreationEpoch < kinesisBegan || id.CreationEpoch > st.created.Unix() {
			return fmt.Errorf("%w: leases of stream %s have the name %s, which another library made, but the stream was "+
				"created at %s (%d): to go on with their checkpoints set CreationEpoch of the stream to %d; to begin "+
				"anew use another table (Config.Table)",
				leases.ErrForeignTable, st.id.Name, id, st.created.UTC().Format(time.RFC3339), st.created.Unix(), id.CreationEpoch)
		}
	}
	return nil
}

// recreated is the error of a stream whose rows were made for an earlier one of its name. Only rows
// that have this stream's mark are advised to be deleted: the name stands for another stream now,
// so that one is gone. Rows without a mark may be those of a stream that is still read.
func (st *streamIdentity) recreated(was, now time.Time, marked bool) error {
	err := fmt.Errorf("%w: stream %s was created at %s, its leases for one of %s: their checkpoints are void",
		kcl.ErrStreamRecreated, st.id.Name, now.UTC().Format(time.RFC3339), was.UTC().Format(time.RFC3339))
	switch {
	case st.multi && st.cfg.CreationEpoch == 0: // seen while it was read; the new one has keys of its own
		return fmt.Errorf("%w; the new one is read by leases of its own", err)
	case st.multi && marked:
		return fmt.Errorf("%w; delete them to start anew with the initial position (`kclctl leases delete -all -stream %s "+
			"-table TABLE`)", err, st.label)
	case marked:
		return fmt.Errorf("%w; delete its rows from the lease table, or use another table, to start anew (`kclctl leases "+
			"delete -all -table TABLE`); if the records are the same, keep the checkpoints (`kclctl leases adopt "+
			"-application %s -stream %s -table TABLE`)", err, st.marks.Application, st.id.ARN)
	}
	return fmt.Errorf("%w; use another table (Config.Table) to start anew with the initial position: the leases name no "+
		"stream, and may be those of another; if the records are the same, keep the checkpoints (`kclctl leases adopt "+
		"-application %s -stream %s -table TABLE`)", err, st.marks.Application, st.id.ARN)
}
