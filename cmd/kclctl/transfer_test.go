package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/transfer"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
)

const old = "orders-old"

// oldRow is an item of go-kcl's table with these fields: names and values by turns.
func oldRow(shard string, fields ...string) dynamotest.Item {
	it := dynamotest.Item{"ShardID": dynamotest.S(shard)}
	for i := 0; i < len(fields); i += 2 {
		it[fields[i]] = dynamotest.S(fields[i+1])
	}
	return it
}

// oldFleet is the table of a fleet that was stopped in the middle of a split. One shard is
// finished, one had an owner that crashed, one was released, and one was never read.
func oldFleet() []dynamotest.Item {
	return []dynamotest.Item{
		oldRow("shardId-000000000000", "Checkpoint", "SHARD_END", "LeaseTimeout", "2026-01-31T08:00:00.1Z", "AssignedTo",
			"old-1"),
		oldRow("shardId-000000000001", "Checkpoint", seq1, "LeaseTimeout", "2026-01-31T08:00:00Z", "AssignedTo", "old-1",
			"ClaimRequest", "old-2"),
		oldRow("shardId-000000000002", "Checkpoint", seq2, "LeaseTimeout", "2026-01-31T08:00:00Z", "ParentShardId",
			"shardId-000000000000"),
		oldRow("shardId-000000000003", "Checkpoint", "", "AssignedTo", "", "ParentShardId", "shardId-000000000000"),
	}
}

func oldRig(t *testing.T, items ...dynamotest.Item) *rig {
	t.Helper()
	r := newRig(t)
	r.makeOld(old, items...)
	return r
}

func TestImport(t *testing.T) {
	r := oldRig(t, oldFleet()...)
	before := r.srv.Items(old)
	got := r.leases("import", "-from", old, "-dry-run")
	require.Equal(t, statusOK, got.status, got.errors)
	golden(t, "import-dry-run.txt", got.out+"---\n"+got.errors)
	require.Empty(t, r.srv.Items(table))

	got = r.answering(strings.NewReader("no\n"), "import", "-from", old)
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "Create 4 rows in table orders?")
	require.Empty(t, r.srv.Items(table))

	got = r.leases("import", "-from", old, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "4 rows created in table orders, 0 there already; 4 read back and found right, 0 failed")
	noStream := func(l *leases.Lease) { l.StreamCreated = time.Time{} }
	child := func(l *leases.Lease) { l.Parents = []string{"shardId-000000000000"} }
	for _, want := range []leases.Lease{
		lease("shardId-000000000000", at(kcl.SentinelShardEnd, 0), noStream),
		lease("shardId-000000000001", at(seq1, 0), noStream),
		lease("shardId-000000000002", at(seq2, 0), child, noStream), lease("shardId-000000000003", child, noStream),
	} {
		require.Equal(t, want, r.get(want.Key))
	}
	require.Equal(t, before, r.srv.Items(old), "the old table is only read")

	// The second import has nothing to do, and asks no question.
	got = r.leases("import", "-from", old, "-json")
	require.Equal(t, statusOK, got.status, got.errors)
	golden(t, "import-again.json", got.out)

	// The new fleet has moved a checkpoint. The import moves nothing back, and makes no row.
	l := r.get("shardId-000000000001")
	to := l
	to.Checkpoint.SequenceNumber = seq2
	require.NoError(t, r.store.Update(t.Context(),
		leases.Update{Read: l, Expect: fence, To: to, Set: leases.AttrCheckpoint}))
	require.NoError(t, r.store.Delete(t.Context(), leases.Lease{Key: "shardId-000000000000"}, 0))
	got = r.leases("import", "-from", old, "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "refused: 1 row of table orders with another checkpoint")
	require.Len(t, r.srv.Items(table), 3)
	require.Equal(t, seq2, r.get("shardId-000000000001").Checkpoint.SequenceNumber)
}

// TestImportMarksItsLeases: imported leases name the application of the command line. They are
// never added to leases of another application.
func TestImportMarksItsLeases(t *testing.T) {
	r := oldRig(t, oldFleet()...)
	got := r.leases("import", "-from", old, "-yes", "-application", "billing")
	require.Equal(t, statusOK, got.status, got.errors)
	require.NotContains(t, got.errors, "without -application")
	require.Equal(t, "billing", r.get("shardId-000000000001").Application)

	require.NoError(t, r.store.Delete(t.Context(), leases.Lease{Key: "shardId-000000000003"}, 0))
	got = r.leases("import", "-from", old, "-yes", "-application", "reports")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "belongs to application billing, and this is application reports")
	require.Len(t, r.srv.Items(table), 3)
}

func TestImportMakesItsTable(t *testing.T) {
	r := oldRig(t, oldFleet()...)
	args := []string{"leases", "import", "-from", old, "-table", "fresh", "-endpoint", r.url}
	got := kclctl(t, strings.NewReader(""), append(args, "-dry-run")...)
	require.Equal(t, statusOK, got.status, got.errors)
	require.Nil(t, r.srv.Items("fresh"))
	got = kclctl(t, strings.NewReader(""), append(args, "-yes")...)
	require.Equal(t, statusOK, got.status, got.errors)
	require.Len(t, r.srv.Items("fresh"), 4)

	got = kclctl(t, strings.NewReader(""), "leases", "import", "-from", "typo", "-table", "fresh", "-endpoint", r.url)
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "there is no table typo here: check -from")
	got = kclctl(t, strings.NewReader(""), "leases", "import", "-from", "fresh", "-table", table, "-endpoint", r.url)
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "it is one of this library or of the Java KCL, and is used as it is")
}

func TestImportWithoutCheckpoints(t *testing.T) {
	r := oldRig(t, oldFleet()...)
	got := r.leases("import", "-from", old, "-yes", "-no-checkpoint", "LATEST")
	require.Equal(t, statusOK, got.status, got.errors)
	l := r.get("shardId-000000000003")
	require.Equal(t, kcl.SentinelLatest, l.Checkpoint.SequenceNumber)
	require.WithinDuration(t, time.Now(), l.PinnedAt, time.Minute)
	require.True(t, l.Origin.Equal(leases.Origin{Kind: kcl.SentinelLatest, At: l.PinnedAt}))
	require.True(t, r.get("shardId-000000000001").PinnedAt.IsZero())
	require.True(t, r.get("shardId-000000000001").Origin.Equal(l.Origin), "of all leases")
}

// TestImportWhileOldWorkersRun is refused. With -force the import notices what they do meanwhile.
func TestImportWhileOldWorkersRun(t *testing.T) {
	until := time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano)
	r := oldRig(t, append(oldFleet(), oldRow("shardId-000000000004", "AssignedTo", "old-2", "LeaseTimeout", until,
		"Checkpoint", seq1))...)
	got := r.leases("import", "-from", old, "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "old workers hold leases of table orders-old (shardId-000000000004 by old-2 until ")
	require.Contains(t, got.errors, "every record is processed twice")
	require.Contains(t, got.out, "nothing was changed")
	require.Empty(t, r.srv.Items(table))

	checkpoint := func() {
		r.srv.Put(old, oldRow("shardId-000000000004", "AssignedTo", "old-2", "LeaseTimeout", until, "Checkpoint", seq2))
		r.srv.Put(old, oldRow("shardId-000000000001", "AssignedTo", "old-2", "LeaseTimeout", until, "Checkpoint", seq1))
	}
	got = r.answering(&answer{checkpoint, strings.NewReader("yes\n")}, "import", "-from", old, "-force")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors,
		"table orders-old changed while it was read: shardId-000000000004 was checkpointed at "+seq2)
	require.Contains(t, got.errors, "shardId-000000000001 was taken or renewed by the old worker old-2")
}

func TestImportOfDamagedRows(t *testing.T) {
	r := oldRig(t, append(oldFleet(),
		oldRow("shardId-000000000005", "Checkpoint", "SHARD_END\x1b[2J"),
		oldRow("shardId-000000000006", "AssignedTo", "w", "LeaseTimeout", "soon"),
		dynamotest.Item{"ShardID": dynamotest.S("shardId-000000000007"), "Checkpoint": dynamotest.N("7")},
	)...)
	got := r.leases("import", "-from", old, "-yes")
	require.Equal(t, statusFailed, got.status)
	golden(t, "import-damaged.txt", got.out+"---\n"+got.errors)
	requireHarmless(t, got.out+got.errors)
	require.Empty(t, r.srv.Items(table))

	got = r.leases("import", "-from", old, "-yes", "-skip-bad", "-json")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Len(t, r.srv.Items(table), 4)
	var report transfer.Plan
	require.NoError(t, json.Unmarshal([]byte(got.out), &report))
	require.Len(t, report.Bad, 3)
}

// TestImportVerifies: the import names rows that it could not write.
func TestImportVerifies(t *testing.T) {
	r := oldRig(t, oldFleet()...)
	remove := r.srv.Inject(dynamotest.Fault{
		Operation: "PutItem", Table: table, Key: "shardId-000000000001",
		Do: []dynamotest.Action{dynamotest.Fail("InternalServerError", "boom")},
	})
	got := r.leases("import", "-from", old, "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "shardId-000000000001: ")
	require.Contains(t, got.errors, "boom")
	require.Contains(t, got.out, "3 rows created in table orders, 0 there already; 3 read back and found right, 1 failed")
	remove()

	// A lost answer is no failure: the row is there.
	defer r.srv.Inject(dynamotest.Fault{
		Operation: "PutItem", Table: table,
		Do: []dynamotest.Action{dynamotest.LoseAnswer()},
	})()
	got = r.leases("import", "-from", old, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "3 there already; 4 read back and found right, 0 failed")
}

func TestImportMeetsAnotherWriter(t *testing.T) {
	r := oldRig(t, oldFleet()...)
	interfere := func() {
		require.NoError(t, r.store.Create(t.Context(), lease("shardId-000000000001", at(seq2, 0))))
	}
	got := r.answering(&answer{interfere, strings.NewReader("y\n")}, "import", "-from", old)
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "was changed meanwhile")
	require.Equal(t, seq2, r.get("shardId-000000000001").Checkpoint.SequenceNumber, "nothing is overwritten")
}

// kinesisFor serves a stream on a loopback port. The first of its two shards was split.
func kinesisFor(t *testing.T, name string) *kinesistest.Server {
	t.Helper()
	srv, err := kinesistest.Start(kinesistest.Config{
		Listen: "127.0.0.1:0", StateDelay: -1, PageSize: 2, AccountID: "123456789012",
		Streams: []kinesistest.StreamConfig{{Name: name, Shards: 2}},
	})
	require.NoError(t, err)
	t.Cleanup(srv.Close)
	_, _, err = srv.SplitShard(name, "shardId-000000000000")
	require.NoError(t, err)
	return srv
}

func TestImportAsksKinesis(t *testing.T) {
	r := oldRig(t, append(oldFleet(), oldRow("shardId-000000000099", "Checkpoint", seq1))...)
	srv := kinesisFor(t, table)
	ask := []string{"-kinesis-endpoint", srv.URL(), "-stream", table}
	got := r.leases(append([]string{"import", "-from", old, "-yes"}, ask...)...)
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "Kinesis does not list the shard any more")
	require.Len(t, r.srv.Items(table), 4)
	parent := r.get("shardId-000000000000")
	require.ElementsMatch(t, []string{"shardId-000000000002", "shardId-000000000003"}, parent.Children)
	require.Equal(t, kcl.HashKeyRange{Start: "0", End: half}, parent.HashKeyRange)
	require.WithinDuration(t, time.Now(), parent.StreamCreated, time.Minute)
	require.Equal(t, []string{"shardId-000000000000"}, r.get("shardId-000000000002").Parents)

	// The table is as if this library had made it.
	got = r.leases("audit")
	require.Equal(t, statusOK, got.status, got.out+got.errors)
	require.Contains(t, got.out, "4 rows audited, without Kinesis: 0 findings\n")
	got = r.leases(append([]string{"audit"}, ask...)...)
	require.Equal(t, 2, strings.Count(got.out, "out-of-range: "), "the numbers of the test are of another time: %s",
		got.out)
	require.Contains(t, got.out, "4 rows audited with Kinesis: 2 findings\n")
	got = r.leases(append([]string{"adopt", "-yes"}, ask...)...)
	require.Equal(t, statusOK, got.status, got.errors)
	require.Equal(t, "nothing to change in table orders\n", got.out)

	got = r.leases(append([]string{"import", "-from", old, "-multi"}, ask...)...)
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "the other form of keys")
	got = kclctl(t, strings.NewReader(""),
		append([]string{"leases", "import", "-from", old, "-multi", "-table", "several", "-endpoint", r.url, "-yes"},
			ask...)...)
	require.Equal(t, statusOK, got.status, got.errors)
	key := fmt.Sprintf("123456789012:orders:%d:shardId-000000000001", parent.StreamCreated.Unix())
	require.Contains(t, got.out, key)
	require.Len(t, r.srv.Items("several"), 4)
}

// TestImportOfAnUnreadParent: the old libraries take shards in any order, and may read a child
// whose parent has no row yet. The parent is still to be read, and no worker would make its row
// later.
func TestImportOfAnUnreadParent(t *testing.T) {
	r := oldRig(t,
		oldRow("shardId-000000000001", "Checkpoint", seq1),
		oldRow("shardId-000000000002", "Checkpoint", seq2, "ParentShardId", "shardId-000000000000"),
	)
	srv := kinesisFor(t, table)
	got := r.leases("import", "-from", old, "-dry-run")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "3 rows would be created in table orders")
	require.Contains(t, got.errors, "note: without -stream leases are made for all parents without a row "+
		"(shardId-000000000000), also for those that Kinesis does not list any more")
	got = r.leases("import", "-from", old, "-yes", "-kinesis-endpoint", srv.URL(), "-stream", table)
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "had no row, although a descendant has")
	parent := r.get("shardId-000000000000")
	require.Equal(t, kcl.SentinelTrimHorizon, parent.Checkpoint.SequenceNumber)
	require.Equal(t, half, parent.HashKeyRange.End)
	require.Len(t, r.srv.Items(table), 3, "the other child is made by the first worker")
}

// TestImportOfAnUnreadableParent makes no row for the parent: its old row may say that it is
// finished.
func TestImportOfAnUnreadableParent(t *testing.T) {
	r := oldRig(t, oldRow("shardId-000000000000", "Checkpoint", "SHARD-END"),
		oldRow("shardId-000000000002", "Checkpoint", seq2))
	srv := kinesisFor(t, table)
	got := r.leases("import", "-from", old, "-yes", "-skip-bad", "-kinesis-endpoint", srv.URL(), "-stream", table)
	require.Equal(t, statusOK, got.status, got.errors)
	require.Len(t, r.srv.Items(table), 1)
}

func TestAdoptAsksKinesis(t *testing.T) {
	r := newRig(t, fleet()...)
	srv := kinesisFor(t, table)
	got := r.leases("adopt", "-yes", "-stream", srv.StreamARN(table), "-kinesis-endpoint", srv.URL())
	require.Equal(t, statusOK, got.status, got.errors)
	require.WithinDuration(t, time.Now(), r.get(held).StreamCreated, time.Minute)
	got = r.leases("adopt", "-yes", "-stream", "typo", "-kinesis-endpoint", srv.URL())
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "ask Kinesis about stream typo")
}

func TestImportOfAnotherStream(t *testing.T) {
	r := oldRig(t, oldRow("shardId-000000000070", "Checkpoint", seq1))
	srv := kinesisFor(t, table)
	got := r.leases("import", "-from", old, "-yes", "-kinesis-endpoint", srv.URL(), "-stream", table)
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "it is a table of another stream")
}

func TestExport(t *testing.T) {
	r := newRig(t, fleet()...)
	got := r.leases("export", "-to", old, "-yes")
	require.Equal(t, statusFailed, got.status)
	golden(t, "export-refused.txt", got.out+"---\n"+got.errors)
	require.Nil(t, r.srv.Items(old), "nothing is made")

	got = r.leases("release", "-owner", "worker-1", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	got = r.leases("release", "-owner", "worker-2", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	got = r.leases("export", "-to", old, "-lossy", "-dry-run", "-json")
	require.Equal(t, statusOK, got.status, got.errors)
	golden(t, "export.json", got.out)
	require.Nil(t, r.srv.Items(old))
	got = r.leases("export", "-to", old, "-lossy", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out,
		"4 rows created in table orders-old, 0 there already; 4 read back and found right, 0 failed")
	require.ElementsMatch(t, []dynamotest.Item{
		oldRow("shardId-000000000000", "Checkpoint", "SHARD_END"), oldRow("shardId-000000000001", "Checkpoint", seq1),
		oldRow("shardId-000000000002", "ParentShardId", "shardId-000000000000"),
		oldRow("shardId-000000000003", "ParentShardId", "shardId-000000000000", "Checkpoint", seq2),
	}, r.srv.Items(old))

	got = r.leases("export", "-to", old, "-lossy")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "4 there already")

	r.srv.Put(old, oldRow("shardId-000000000001", "Checkpoint", seq2))
	got = r.leases("export", "-to", old, "-lossy", "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "refused: 1 row of table orders-old with another checkpoint")
}

// TestExportOfCleanedUpParents: the old libraries read a listed shard without a row from its
// beginning. This library deletes finished leases, so export writes their shards as finished.
func TestExportOfCleanedUpParents(t *testing.T) {
	child := lease("shardId-000000000004", at(seq2, 0),
		func(l *leases.Lease) { l.Parents = []string{"shardId-000000000002"} })
	r := newRig(t, child, lease("shardId-000000000001", at(seq1, 0)))
	end := func(shard string) dynamotest.Item { return oldRow(shard, "Checkpoint", "SHARD_END") }
	rows := []dynamotest.Item{
		oldRow("shardId-000000000004", "Checkpoint", seq2, "ParentShardId", "shardId-000000000002"),
		oldRow("shardId-000000000001", "Checkpoint", seq1),
		end("shardId-000000000002"),
	}
	got := r.leases("export", "-to", old, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "was finished, and its lease deleted")
	require.Contains(t, got.errors, "without -kinesis-stream")
	require.ElementsMatch(t, rows, r.srv.Items(old))

	srv := kinesisFor(t, table) // 2 and 3 are children of 0
	_, _, err := srv.SplitShard(table, "shardId-000000000002")
	require.NoError(t, err)
	got = r.leases("export", "-to", "complete", "-yes", "-kinesis-stream", table, "-kinesis-endpoint", srv.URL())
	require.Equal(t, statusOK, got.status, got.errors)
	require.NotContains(t, got.errors, "without -kinesis-stream")
	require.ElementsMatch(t, append(rows, end("shardId-000000000000")), r.srv.Items("complete"))
	got = r.leases("export", "-to", "complete", "-kinesis-stream", table, "-kinesis-endpoint", srv.URL())
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "0 rows created in table complete, 4 there already")
}

func TestExportOfOneOfSeveralStreams(t *testing.T) {
	const stream = "123456789012:orders:1700000000"
	r := newRig(t, lease(stream+":shardId-000000000000", at(seq1, 0),
		func(l *leases.Lease) { l.Stream, l.ShardID = stream, "shardId-000000000000" }))
	got := r.leases("export", "-to", old, "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, `no lease is of -stream ""; the table has `+stream)
	got = r.leases("export", "-to", old, "-yes", "-stream", stream)
	require.Equal(t, statusOK, got.status, got.errors)
	require.Equal(t, []dynamotest.Item{oldRow("shardId-000000000000", "Checkpoint", seq1)}, r.srv.Items(old))
}

// TestExportNotices that a worker runs while its leases are exported.
func TestExportNotices(t *testing.T) {
	r := newRig(t, lease(held, at(seq1, 0), heldBy("worker-1", 1)))
	renew := func() {
		l := r.get(held)
		l.Counter++
		require.NoError(t, r.store.Update(t.Context(), leases.Update{Read: l, To: l, Set: leases.AttrCounter}))
	}
	got := r.answering(&answer{renew, strings.NewReader("yes\n")}, "export", "-to", old, "-force")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "table orders changed while it was read: "+held+" was written by worker worker-1")
}

// TestRoundTrip imports a table and exports it again. All shards are where they were, and have no
// owner. The same is true the other way round.
func TestRoundTrip(t *testing.T) {
	r := oldRig(t, oldFleet()...)
	got := r.leases("import", "-from", old, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	got = r.leases("export", "-to", "orders-back", "-yes", "-lossy")
	require.Equal(t, statusOK, got.status, got.errors)
	var want []dynamotest.Item
	for _, it := range oldFleet() {
		for name, v := range it {
			if v.Text == "" || name != "ShardID" && name != "Checkpoint" && name != "ParentShardId" {
				delete(it, name)
			}
		}
		want = append(want, it)
	}
	require.ElementsMatch(t, want, r.srv.Items("orders-back"))

	got = kclctl(t, strings.NewReader(""), "leases", "import", "-from", "orders-back", "-table", "orders-again",
		"-endpoint", r.url, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.ElementsMatch(t, r.srv.Items(table), r.srv.Items("orders-again"))
}

func TestTransferUsage(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"import -table orders":                                    "-from is missing",
		"import -table orders -from orders":                       "the same table",
		"import -table orders -from x":                            `-from "x"`,
		"import -table orders -from old-orders -from-store mongo": `-from-store "mongo"`,
		"import -table orders -from old-orders -multi":            "-multi needs -stream",
		"import -table orders -from old-orders KEY":               "unexpected argument",
		"import -table orders -from o -no-checkpoint 12":          `-no-checkpoint "12"`,
		"import -table orders -from o -no-checkpoint SHARD_END":   `-no-checkpoint "SHARD_END"`,
		"export -table orders":                                    "-to is missing",
		"export -table orders -to orders":                         "the same table",
		"export -table orders -to old-orders KEY":                 "unexpected argument",
	} {
		got := kclctl(t, strings.NewReader(""), append([]string{"leases"}, strings.Fields(line)...)...)
		require.Equal(t, statusUsage, got.status, line)
		require.Contains(t, got.errors, want, line)
	}
}
