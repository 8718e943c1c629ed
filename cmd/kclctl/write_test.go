package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

const (
	finished = "shardId-000000000000"
	held     = "shardId-000000000001"
	free     = "shardId-000000000002"
	pending  = "shardId-000000000003"
)

func TestRelease(t *testing.T) {
	r := newRig(t, fleet()...)
	before := r.get(held)
	got := r.leases("release", held, free, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	golden(t, "release.txt", got.out+"---\n"+got.errors)

	want := before
	want.Owner, want.Counter = "", 42
	require.Equal(t, want, r.get(held), "only owner and counter change")
	require.EqualValues(t, 0, r.get(free).Counter)

	got = r.leases("release", pending, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "hand-over from worker-1 to worker-2 completed")
	require.Equal(t, "worker-2", r.get(pending).Owner)
	require.Empty(t, r.get(pending).CheckpointOwner)
	require.EqualValues(t, 8, r.get(pending).Counter)
}

// TestReleaseAfterAnOvertakenHandOver: a worker of KCL 2.x has taken the lease during its
// hand-over.
func TestReleaseAfterAnOvertakenHandOver(t *testing.T) {
	l := leases.Lease{
		Key: free, ShardID: free, ThroughputKBps: -1, Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: "17"},
		Counter: 8,
		Owner:   "java", CheckpointOwner: "worker-1",
		Extension: leases.Extension{NativeOwner: "worker-1", HandoverTo: "worker-2"},
	}
	r := newRig(t, l)
	got := r.leases("show", free)
	require.Equal(t, statusOK, got.status, got.errors)
	require.NotContains(t, got.out, "hand-over pending")
	got = r.leases("release", "-owner", "worker-1", "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, `no lease is held by worker "worker-1"; workers that hold leases: java`)
	got = r.leases("release", "-owner", "java", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	row := r.get(free)
	require.Empty(t, row.ActualOwner()+row.Owner+row.CheckpointOwner+row.HandoverTo)
}

func TestReleaseOfAWorker(t *testing.T) {
	r := newRig(t, fleet()...)
	got := r.leases("release", "-owner", "worker-1", "-yes", "-json")
	require.Equal(t, statusOK, got.status, got.errors)
	golden(t, "release-owner.json", got.out)
	require.Empty(t, r.get(held).Owner)
	require.Equal(t, "worker-2", r.get(pending).Owner)
	require.Equal(t, "worker-1", r.get(finished).Owner, "a finished lease needs no other owner")

	got = r.leases("release", "-owner", "worker-1", "-yes")
	require.Equal(t, statusFailed, got.status, "it holds nothing any more")
	require.Contains(t, got.errors, `no lease is held by worker "worker-1"; workers that hold leases: worker-2`)
}

func TestSetCheckpoint(t *testing.T) {
	r := newRig(t, fleet()...)
	got := r.leases("set-checkpoint", held, seq2+"/4", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	golden(t, "set-checkpoint.txt", got.out+"---\n"+got.errors)
	l := r.get(held)
	require.Equal(t, kcl.ExtendedSequenceNumber{SequenceNumber: seq2, SubSequenceNumber: 4}, l.Checkpoint)
	require.True(t, l.Pending.IsZero(), "the prepared checkpoint belongs to the old position")
	require.Empty(t, l.Owner, "its owner would go on from where it is")
	require.EqualValues(t, 42, l.Counter)

	start := time.Now().Add(-time.Millisecond)
	got = r.leases("set-checkpoint", free, "latest", "-yes", "-json")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Equal(t, kcl.SentinelLatest, r.get(free).Checkpoint.SequenceNumber)
	require.WithinRange(t, r.get(free).PinnedAt, start, time.Now(), "LATEST means now, not when a worker starts")
	require.True(t, json.Valid([]byte(got.out)))
}

// TestSetCheckpointKeepsItsTime: the lease keeps the time of its start, and no worker decides it
// anew.
func TestSetCheckpointKeepsItsTime(t *testing.T) {
	began := leases.Origin{Kind: kcl.SentinelLatest, At: time.Unix(1_600_000_000, 0).UTC()}
	r := newRig(t, leases.Lease{
		Key: free, ShardID: free, ThroughputKBps: -1,
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelLatest},
		Extension:  leases.Extension{PinnedAt: began.At}, // by an older release, which kept no origin
	})
	got := r.leases("set-checkpoint", free, "AT_TIMESTAMP", "-yes")
	require.Equal(t, statusUsage, got.status)
	require.Contains(t, got.errors, "needs a time in RFC 3339 from 1970 on, such as AT_TIMESTAMP@2026-03-04T05:06:07Z")

	got = r.leases("set-checkpoint", free, "at_timestamp@2026-03-04t05:06:07.5z", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out+got.errors, "LATEST -> AT_TIMESTAMP@2026-03-04T05:06:07.5Z")
	require.Equal(t, kcl.SentinelAtTimestamp, r.get(free).Checkpoint.SequenceNumber)
	require.WithinDuration(t, time.Date(2026, 3, 4, 5, 6, 7, 500_000_000, time.UTC), r.get(free).PinnedAt, 0)
	require.True(t, r.get(free).Origin.Equal(began), "where the application began is not forgotten: %s",
		r.get(free).Origin)

	got = r.leases("set-checkpoint", free, "TRIM_HORIZON", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Zero(t, r.get(free).PinnedAt, "the time belonged to AT_TIMESTAMP")
	require.True(t, r.get(free).Origin.Equal(began))
}

// TestPresentIsTheServices: the time of the service counts where the clock of this machine is
// wrong.
func TestPresentIsTheServices(t *testing.T) {
	t.Parallel()
	date := time.Unix(1_700_000_000, 0).UTC()
	for off, want := range map[time.Duration]time.Duration{
		0: 0, 300 * time.Millisecond: 300 * time.Millisecond, 1500 * time.Millisecond: 1500 * time.Millisecond,
		-time.Millisecond: 0, time.Hour: 0, -time.Hour: 0,
	} {
		require.Equal(t, date.Add(want), present(date, date.Add(off)), off)
	}
}

func TestDirectionOfACheckpoint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, want string }{
		{seq1, seq2, "between the two checkpoints will be skipped"},
		{seq2, seq1, "will be processed again"},
		{seq1, seq1, ""},
		{"TRIM_HORIZON", seq1, "before the new checkpoint will be skipped"},
		{seq1, "TRIM_HORIZON", "will be processed again"},
		{seq1, "LATEST", "up to now that were not processed yet will be skipped"},
		{seq1, "SHARD_END", "rest of the shard will not be processed"},
		{"SHARD_END", seq1, "order of records is lost"},
		{"SHARD_END", "SHARD_END", ""},
	} {
		from, err := parsePosition(c.from)
		require.NoError(t, err)
		to, err := parsePosition(c.to)
		require.NoError(t, err)
		got := consequence(from, to)
		require.Contains(t, got, c.want)
		require.Equal(t, c.want == "", got == "", "%s -> %s", c.from, c.to)
	}
}

func TestDelete(t *testing.T) {
	r := newRig(t, fleet()...)
	r.poison()
	got := r.leases("delete", free, held, "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "worker worker-1 holds "+held)
	got = r.leases("delete", "-all", "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Len(t, r.srv.Items(table), 5, "nothing was deleted")

	got = r.leases("delete", free, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	golden(t, "delete.txt", got.out+"---\n"+got.errors)
	require.Len(t, r.srv.Items(table), 4)

	got = r.leases("delete", "shardId-000000000009", "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "-force deletes it")
	got = r.leases("delete", "shardId-000000000009", "-yes", "-force")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Len(t, r.srv.Items(table), 3)

	got = r.leases("delete", "-all", "-force", "-yes", "-json")
	require.Equal(t, statusOK, got.status, got.errors)
	golden(t, "delete-all.json", got.out)
	require.Empty(t, r.srv.Items(table))
}

func TestNotConfirmed(t *testing.T) {
	for name, args := range map[string][]string{
		"release": {"release", held}, "set-checkpoint": {"set-checkpoint", held, "TRIM_HORIZON"},
		"delete": {"delete", finished}, "adopt": {"adopt", "-created", "2026-02-01T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, fleet()...)
			before := r.srv.Items(table)
			for _, answer := range []string{"", "\n", "no\n", "yesterday\n"} {
				got := r.answering(strings.NewReader(answer), args...)
				require.Equal(t, statusFailed, got.status)
				require.Contains(t, got.errors, "not confirmed, nothing was changed")
				require.Equal(t, before, r.srv.Items(table))
			}
			got := r.leases(append(args, "-dry-run")...)
			require.Equal(t, statusOK, got.status, got.errors)
			require.Contains(t, got.out, "dry run: nothing was changed")
			got = r.leases(append(args, "-dry-run", "-json")...)
			require.Equal(t, statusOK, got.status, got.errors)
			require.Contains(t, got.out, `"done": false`)
			require.Equal(t, before, r.srv.Items(table))

			got = r.answering(strings.NewReader("yes\n"), args...)
			require.Equal(t, statusOK, got.status, got.errors)
			require.NotEqual(t, before, r.srv.Items(table))
		})
	}
}

// answer is a standard input that calls first before it is read.
type answer struct {
	first func()
	rest  io.Reader
}

func (a *answer) Read(p []byte) (int, error) {
	if a.first != nil {
		a.first()
		a.first = nil
	}
	return a.rest.Read(p)
}

// TestRenewedMeanwhile: the owner writes the row between the question and the answer, as every
// owner that is alive does.
func TestRenewedMeanwhile(t *testing.T) {
	adopt := []string{"adopt", "-created", "2026-02-01T00:00:00Z"}
	renewal := func(l *leases.Lease) { l.Counter++ }
	progress := func(l *leases.Lease) { l.Counter++; l.Checkpoint.SequenceNumber = seq2 }
	another := func(l *leases.Lease) { l.Counter++; l.Owner = "worker-2" }
	for name, c := range map[string]struct {
		args    []string
		write   func(*leases.Lease)
		refused string
	}{
		"release, renewed":        {[]string{"release", held}, renewal, ""},
		"release, read on":        {[]string{"release", held}, progress, ""},
		"release, owner":          {[]string{"release", held}, another, "now held, owner worker-2"},
		"set-checkpoint, renewed": {[]string{"set-checkpoint", held, "TRIM_HORIZON"}, renewal, ""},
		"set-checkpoint, read on": {[]string{"set-checkpoint", held, "TRIM_HORIZON"}, progress, ""},
		"set-checkpoint, overtook": {
			[]string{"set-checkpoint", held, seq1 + "/5"},
			progress,
			"checkpoint " + seq2 + ", counter 42: look again",
		},
		"set-checkpoint, owner": {[]string{"set-checkpoint", held, "TRIM_HORIZON"}, another, "now held, owner worker-2"},
		"delete, renewed":       {[]string{"delete", held, "-force"}, renewal, "stop the worker first"},
		"delete, owner":         {[]string{"delete", held, "-force"}, another, "now held, owner worker-2"},
		"adopt, renewed":        {adopt, renewal, ""},
		"adopt, read on":        {adopt, progress, ""},
		"adopt, owner":          {adopt, another, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lease(held, at(seq1, 0), heldBy("worker-1", 41)))
			write := func() {
				read := r.get(held)
				to := read
				c.write(&to)
				require.NoError(t, r.store.Update(t.Context(), leases.Update{
					Read: read, Expect: fence, To: to, Set: leases.AttrOwner | leases.AttrCounter | leases.AttrCheckpoint,
				}))
			}
			got := r.answering(&answer{write, strings.NewReader("yes\n")}, append(c.args, "-json")...)
			if c.refused != "" {
				require.Equal(t, statusFailed, got.status)
				require.Contains(t, got.errors, "not changed, because the lease is no longer as shown: ")
				require.Contains(t, got.errors, c.refused)
				require.EqualValues(t, 42, r.get(held).Counter)
				require.Equal(t, created, r.get(held).StreamCreated)
				return
			}
			require.Equal(t, statusOK, got.status, got.errors)
			l := r.get(held)
			if c.args[0] == "adopt" {
				require.EqualValues(t, 42, l.Counter, "the owner goes on")
				require.NotEqual(t, created, l.StreamCreated)
				return
			}
			require.Empty(t, l.Owner)
			require.EqualValues(t, 43, l.Counter, "never a number that was there before")
			require.Contains(t, got.out, `"counter": 42`, "the report shows the change that was made")
		})
	}
}

// TestAdoptOfABusyTable: a lease without a creation time gets one, even if a worker of another
// library renews the lease meanwhile.
func TestAdoptOfABusyTable(t *testing.T) {
	r := newRig(t, lease(held, at(seq1, 0), heldBy("worker-1", 41),
		func(l *leases.Lease) { l.StreamCreated = time.Time{} }))
	renew := func() {
		read := r.get(held)
		to := read
		to.Counter++
		require.NoError(t, r.store.Update(t.Context(),
			leases.Update{Read: read, Expect: fence, To: to, Set: leases.AttrCounter}))
	}
	got := r.answering(&answer{renew, strings.NewReader("yes\n")}, "adopt", "-created", "2026-02-01T00:00:00Z", "-json")
	require.Equal(t, statusOK, got.status, got.errors)
	l := r.get(held)
	require.EqualValues(t, 42, l.Counter)
	require.Equal(t, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), l.StreamCreated)

	// A creation time that was written meanwhile is not overwritten.
	to := l
	to.StreamCreated = time.Time{}
	require.NoError(t, r.store.Update(t.Context(),
		leases.Update{Read: l, Expect: fence, To: to, Set: leases.AttrStreamCreated}))
	tell := func() {
		require.NoError(t, r.store.Update(t.Context(),
			leases.Update{Read: to, Expect: fence, To: l, Set: leases.AttrStreamCreated}))
	}
	got = r.answering(&answer{tell, strings.NewReader("yes\n")}, "adopt", "-created", "2026-03-01T00:00:00Z")
	require.Equal(t, statusFailed, got.status)
	require.Equal(t, l.StreamCreated, r.get(held).StreamCreated)
}

// TestDeletedMeanwhile: a row that was deleted meanwhile counts as deleted. A client that sends a
// deletion twice sees the same.
func TestDeletedMeanwhile(t *testing.T) {
	r := newRig(t, lease(parent), lease(left, childOf))
	remove := func() { require.NoError(t, r.store.Delete(t.Context(), leases.Lease{Key: left}, 0)) }
	got := r.answering(&answer{remove, strings.NewReader("yes\n")}, "delete", "-all")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Empty(t, r.srv.Items(table))
}

// TestSentTwice: the answer to a write was lost, and the client of the store sent the write again.
func TestSentTwice(t *testing.T) {
	r := newRig(t, lease(held, heldBy("worker-1", 41)))
	first := func() {
		read := r.get(held)
		c, _ := release(read)
		require.NoError(t, r.store.Update(t.Context(), leases.Update{Read: read, Expect: c.expects(), To: c.to, Set: c.set}))
	}
	got := r.answering(&answer{first, strings.NewReader("yes\n")}, "release", held)
	require.Equal(t, statusOK, got.status, got.errors)
	require.EqualValues(t, 42, r.get(held).Counter)

	made := func() {
		c := restoration(free, leases.Lease{Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}},
			[]leases.Lease{r.get(held)})
		require.NoError(t, r.store.Create(t.Context(), c.to))
	}
	got = r.answering(&answer{made, strings.NewReader("yes\n")}, "restore", "-finished", free)
	require.Equal(t, statusOK, got.status, got.errors)
}

// TestLostAnswer: a write was made, and its answer was lost.
func TestLostAnswer(t *testing.T) {
	r := newRig(t, fleet()...)
	for operation, args := range map[string][]string{
		"UpdateItem": {"release", held}, "DeleteItem": {"delete", finished},
	} {
		remove := r.srv.Inject(dynamotest.Fault{
			Operation: operation, Times: 1,
			Do: []dynamotest.Action{dynamotest.LoseAnswer()},
		})
		got := r.leases(append(args, "-yes")...)
		remove()
		require.Equal(t, statusOK, got.status, got.errors)
	}
	require.Empty(t, r.get(held).Owner)

	defer r.srv.Inject(dynamotest.Fault{Operation: "UpdateItem", Times: 1, Do: []dynamotest.Action{dynamotest.Deny()}})()
	got := r.leases("release", pending, "-yes", "-json")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "not changed: kcl: access denied: allow dynamodb:UpdateItem on table orders")
	require.Contains(t, got.out, `"error": "not changed`)
}

func TestAdopt(t *testing.T) {
	r := newRig(t, append(fleet(), lease("shardId-000000000004",
		func(l *leases.Lease) { l.StreamCreated = time.Time{} }))...)
	got := r.leases("adopt", "-created", "2026-02-01T00:00:00Z", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	golden(t, "adopt.txt", got.out+"---\n"+got.errors)
	for _, l := range fleet() {
		want := l
		want.StreamCreated = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
		require.True(t, want.Same(leases.AttrAll, r.get(l.Key)), "only the creation time changes")
	}
	got = r.leases("adopt", "-created", "2026-02-01T00:00:00Z", "-yes", "-json")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, `"changes": []`, "again changes nothing")
}

// TestAdoptOfAnotherApplication: a table can change its application while no worker runs on it. A
// lease whose owner died does not matter.
func TestAdoptOfAnotherApplication(t *testing.T) {
	mark := func(l *leases.Lease) {
		l.Application, l.StreamARN = "reports", "arn:aws:kinesis:us-east-1:123456789012:stream/bills"
	}
	r := newRig(t, lease(held, at(seq1, 0), heldBy("worker-1", 41), mark), lease("other", mark))
	srv := kinesisFor(t, table)
	args := []string{
		"adopt", "-application", "billing", "-stream", srv.StreamARN(table), "-kinesis-endpoint", srv.URL(),
		"-watch", "1ms", "-yes",
	}
	scans := 0
	remove := r.srv.Inject(dynamotest.Fault{Operation: "Scan", Times: 2, When: func(dynamotest.Call) bool {
		if scans++; scans == 2 { // renewed while the table is watched
			read := r.get(held)
			to := read
			to.Counter++
			require.NoError(t, r.store.Update(t.Context(),
				leases.Update{Read: read, Expect: fence, To: to, Set: leases.AttrCounter}))
		}
		return false
	}})
	before := r.get("other")
	got := r.leases(args...)
	remove()
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "lease "+held+" is in use, by worker worker-1: stop all workers of the table first")
	require.Equal(t, before, r.get("other"))

	got = r.leases(args...)
	require.Equal(t, statusOK, got.status, got.errors)
	for _, key := range []string{held, "other"} {
		require.Equal(t, "billing", r.get(key).Application)
		require.Equal(t, srv.StreamARN(table), r.get(key).StreamARN)
		require.WithinDuration(t, time.Now(), r.get(key).StreamCreated, time.Minute)
	}
	require.Equal(t, seq1, r.get(held).Checkpoint.SequenceNumber)
	got = r.leases(args...)
	require.Equal(t, "nothing to change in table orders\n", got.out)
}

// TestAdoptOfOneOfSeveralStreams: -stream concerns the leases of that stream, -application all
// leases.
func TestAdoptOfOneOfSeveralStreams(t *testing.T) {
	of := func(name string) leases.Lease {
		stream := "123456789012:" + name + ":1700000000"
		return lease(stream+":shardId-000000000000",
			func(l *leases.Lease) { l.Stream, l.ShardID = stream, "shardId-000000000000" })
	}
	r := newRig(t, of(table), of("bills"))
	srv := kinesisFor(t, table)
	got := r.leases("adopt", "-application", "billing", "-stream", table, "-kinesis-endpoint", srv.URL(), "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Equal(t, "arn:aws:kinesis:us-east-1", r.get(of(table).Key).StreamARN)
	require.Empty(t, r.get(of("bills").Key).StreamARN)
	for _, l := range []leases.Lease{of(table), of("bills")} {
		require.Equal(t, "billing", r.get(l.Key).Application)
		require.Equal(t, l.StreamCreated, r.get(l.Key).StreamCreated)
	}
}

func TestAdoptOfSeveralStreams(t *testing.T) {
	const stream = "123456789012:orders:1700000000"
	r := newRig(t, lease(stream+":shardId-000000000000",
		func(l *leases.Lease) { l.Stream, l.ShardID = stream, "shardId-000000000000" }))
	got := r.leases("adopt", "-created", "2026-02-01T00:00:00Z", "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "there is no creation time to adopt")
	require.NotContains(t, got.errors, "delete", "the stream may be read by others")
	got = r.leases("delete", "-all", "-stream", stream, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Empty(t, r.srv.Items(table))
}

// TestStopped: after an interrupt, errors name the leases that were not written.
func TestStopped(t *testing.T) {
	r := newRig(t, fleet()...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer r.srv.Inject(dynamotest.Fault{
		Operation: "UpdateItem", Times: 1,
		When: func(dynamotest.Call) bool { cancel(); return false },
	})()
	var out, errors bytes.Buffer
	status := run(ctx, []string{"leases", "release", "-table", table, "-endpoint", r.url, "-yes", held, pending},
		strings.NewReader(""), &out, &errors)
	require.Equal(t, statusFailed, status)
	require.Contains(t, errors.String(), pending+": not changed: context canceled")
	require.Equal(t, "worker-1", r.get(pending).CheckpointOwner)

	// An interrupt also ends the wait for an answer.
	ctx, cancel = context.WithCancel(t.Context())
	in, hold := io.Pipe()
	defer hold.Close()
	errors.Reset()
	status = run(ctx, []string{"leases", "release", "-table", table, "-endpoint", r.url, pending}, &answer{cancel, in},
		&out, &errors)
	require.Equal(t, statusFailed, status)
	require.Contains(t, errors.String(), "not confirmed, nothing was changed")
}

// TestOnATableOfTheKCL: attributes of other libraries stay, and so do rows that are no leases.
func TestOnATableOfTheKCL(t *testing.T) {
	r := newRig(t)
	text, err := os.ReadFile("../../leases/dynamodb/testdata/java-items.json")
	require.NoError(t, err)
	var items []struct {
		Name  string
		Lease bool
		Item  dynamotest.Item
	}
	require.NoError(t, json.Unmarshal(text, &items))
	others := 0
	for _, it := range items {
		if it.Name != "3.5 held" && (it.Lease || it.Item["entityType"].Type == "") {
			continue
		}
		if it.Lease {
			it.Item["future"] = dynamotest.S("unknown")
		} else {
			others++
		}
		r.srv.Put(table, it.Item)
	}
	require.Greater(t, others, 3)
	got := r.leases("list")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "1 lease: 1 held\n")
	for _, args := range [][]string{{"adopt", "-created", "2026-02-01T00:00:00Z"}, {"set-checkpoint", finished, seq1}} {
		got = r.leases(append(args, "-yes")...)
		require.Equal(t, statusOK, got.status, got.errors)
	}
	for _, it := range r.srv.Items(table) {
		if it["leaseKey"].Text == finished {
			require.Equal(t, dynamotest.S("unknown"), it["future"])
			require.Equal(t, dynamotest.S("LEASE"), it["entityType"])
			require.Equal(t, dynamotest.N("31"), it["leaseCounter"])
			require.Equal(t, dynamotest.S(seq1), it["checkpoint"])
			require.NotContains(t, it, "leaseOwner")
		}
	}
	got = r.leases("delete", "-all", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Len(t, r.srv.Items(table), others, "the leader lock and its like stay")
}
