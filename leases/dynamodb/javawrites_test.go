package dynamodb_test

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

// TestWritesBesideJava compares our writes with those of Java workers. Each of ours changes the
// attributes of the Java one, and has its conditions. The table names the differences.
func TestWritesBesideJava(t *testing.T) {
	t.Parallel()
	java := javaWrites(t)
	var mu sync.Mutex // guards ours
	ours := map[string]bool{}
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{})
		defer srv.Close()
		s := storeOn(t, srv)
		require.NoError(t, s.Init(t.Context()))
		ready, err := s.Fleet().EnsureIndex(t.Context())
		for ; !ready && err == nil; ready, err = s.Fleet().EnsureIndex(t.Context()) {
			time.Sleep(time.Second)
		}
		require.NoError(t, err)
		defer srv.Inject(dynamotest.Fault{When: func(c dynamotest.Call) bool {
			switch c.Operation {
			case "UpdateItem", "PutItem", "DeleteItem", "Query":
				mu.Lock()
				defer mu.Unlock()
				ours[shape(t, c.Operation, c.Body)] = true
			}
			return false
		}})()
		writeEverything(t, srv, s)
	})
	for _, tt := range []struct{ name, java, ours string }{
		{
			"create, KCL 3.5",
			"PutItem set checkpoint:S checkpointSubSequenceNumber:N endingHashKey:S entityType:S leaseCounter:N leaseKey:S " +
				"ownerSwitchesSinceCheckpoint:N startingHashKey:S if leaseKey absent",
			"PutItem set checkpoint:S checkpointSubSequenceNumber:N endingHashKey:S entityType:S leaseCounter:N leaseKey:S " +
				"ownerSwitchesSinceCheckpoint:N startingHashKey:S if leaseKey absent",
		},
		{
			"create a child, KCL 3.5",
			"PutItem set checkpoint:S checkpointSubSequenceNumber:N endingHashKey:S entityType:S leaseCounter:N leaseKey:S " +
				"ownerSwitchesSinceCheckpoint:N parentShardId:SS startingHashKey:S if leaseKey absent",
			"PutItem set checkpoint:S checkpointSubSequenceNumber:N endingHashKey:S entityType:S leaseCounter:N leaseKey:S " +
				"ownerSwitchesSinceCheckpoint:N parentShardId:SS startingHashKey:S if leaseKey absent",
		},
		{
			"take: ours expects the owners too, sets goOwner, and removes the rest of a hand-over",
			"UpdateItem set leaseCounter leaseOwner ownerSwitchesSinceCheckpoint remove checkpointOwner if leaseCounter =",
			"UpdateItem set goOwner leaseCounter leaseOwner ownerSwitchesSinceCheckpoint remove checkpointOwner goHandoverTo " +
				"if checkpointOwner absent leaseCounter = leaseKey = leaseOwner absent",
		},
		{
			"renew: ours expects the owner too",
			"UpdateItem set leaseCounter if checkpointOwner absent leaseCounter =",
			"UpdateItem set leaseCounter if checkpointOwner absent leaseCounter = leaseKey = leaseOwner =",
		},
		{
			"renew while a hand-over waits: ours expects the owner too",
			"UpdateItem set leaseCounter throughputKBps if leaseCounter =",
			"UpdateItem set leaseCounter if checkpointOwner = leaseCounter = leaseKey =",
		},
		{
			"first checkpoint: our rows have hash keys already, and ours removes the time of the start",
			"UpdateItem set checkpoint checkpointSubSequenceNumber endingHashKey leaseCounter ownerSwitchesSinceCheckpoint " +
				"startingHashKey remove pendingCheckpoint pendingCheckpointState pendingCheckpointSubSequenceNumber if " +
				"leaseCounter =",
			"UpdateItem set checkpoint checkpointSubSequenceNumber leaseCounter ownerSwitchesSinceCheckpoint remove " +
				"goPinnedAt pendingCheckpoint pendingCheckpointState pendingCheckpointSubSequenceNumber if checkpointOwner " +
				"absent leaseCounter = leaseKey = leaseOwner =",
		},
		{
			"children: ours is a renewal too",
			"UpdateItem set childShardIds if leaseKey =",
			"UpdateItem set childShardIds leaseCounter if checkpointOwner absent leaseCounter = leaseKey = leaseOwner =",
		},
		{
			"ask for a lease, as only a leader of the KCL does: ours expects a worker of this library as the owner",
			"UpdateItem set checkpointOwner leaseOwner if checkpointOwner absent leaseKey = leaseOwner =",
			"UpdateItem set checkpointOwner goHandoverTo leaseOwner if checkpointOwner absent goOwner = leaseKey = leaseOwner =",
		},
		{
			"have a lease handed over, as the leader",
			"UpdateItem set checkpointOwner leaseOwner if checkpointOwner absent leaseKey = leaseOwner =",
			"UpdateItem set checkpointOwner goHandoverTo leaseOwner if checkpointOwner absent leaseKey = leaseOwner =",
		},
		{
			"hand over: ours leaves the next owner alone, and expects the counter",
			"UpdateItem set leaseCounter leaseOwner remove checkpointOwner if checkpointOwner = leaseKey = leaseOwner =",
			"UpdateItem set leaseCounter remove checkpointOwner goHandoverTo if checkpointOwner = leaseCounter = leaseKey =",
		},
		{
			"acquire the lock, KCL 3.5",
			"PutItem set entityType:S leaseDuration:S leaseKey:S ownerName:S recordVersionNumber:S if leaseKey absent",
			"PutItem set entityType:S leaseDuration:S leaseKey:S ownerName:S recordVersionNumber:S if leaseKey absent",
		},
		{
			"acquire the lock, KCL 3.4",
			"PutItem set key:S leaseDuration:S ownerName:S recordVersionNumber:S if key absent",
			"PutItem set key:S leaseDuration:S ownerName:S recordVersionNumber:S if key absent",
		},
		{
			"heartbeat, KCL 3.5",
			"UpdateItem set leaseDuration recordVersionNumber if leaseKey = ownerName = recordVersionNumber =",
			"UpdateItem set leaseDuration recordVersionNumber if leaseKey = ownerName = recordVersionNumber =",
		},
		{
			"heartbeat, KCL 3.4",
			"UpdateItem set leaseDuration recordVersionNumber if key = ownerName = recordVersionNumber =",
			"UpdateItem set leaseDuration recordVersionNumber if key = ownerName = recordVersionNumber =",
		},
		{
			"release the lock",
			"DeleteItem if leaseKey = ownerName = recordVersionNumber =",
			"DeleteItem if leaseKey = ownerName = recordVersionNumber =",
		},
		{
			"report, KCL 3.5: ours never overwrites a lease, and adds goWorker and limits",
			"UpdateItem set entityType lut opr slu sts sup",
			"UpdateItem set entityType goHandover goMaxLeases goWorker lut opr slu sts sup if leaseKey absent",
		},
		{
			"report, KCL 3.4: ours has the attributes of KCL 3.5 too",
			"UpdateItem set lut opr sts",
			"UpdateItem set goWorker lut opr slu sts sup remove goHandover goMaxLeases",
		},
		{
			"new state of the client version, KCL 3.5",
			"PutItem set cv:S entityType:S h:L leaseKey:S mb:S mts:N if leaseKey absent",
			"PutItem set cv:S entityType:S h:L leaseKey:S mb:S mts:N if leaseKey absent",
		},
		{
			"new state of the client version, KCL 3.4",
			"PutItem set cv:S h:L key:S mb:S mts:N if key absent",
			"PutItem set cv:S h:L key:S mb:S mts:N if key absent",
		},
		{
			"next state of the client version: ours expects the time too, because the history depends on it",
			"UpdateItem set cv h mb mts if cv = leaseKey =",
			"UpdateItem set cv h mb mts if cv = leaseKey = mts =",
		},
		{
			"leases by owner",
			"Query LeaseOwnerToLeaseKeyIndex if leaseOwner =",
			"Query LeaseOwnerToLeaseKeyIndex if leaseOwner =",
		},
		{
			"delete: ours always has a condition",
			"DeleteItem",
			"DeleteItem if checkpointOwner absent leaseCounter = leaseKey = leaseOwner absent",
		},
	} {
		require.True(t, java[tt.java], "%s: no Java worker writes %s, but\n%s", tt.name, tt.java,
			strings.Join(slices.Sorted(maps.Keys(java)), "\n"))
		require.True(t, ours[tt.ours], "%s: we do not write %s, but\n%s", tt.name, tt.ours,
			strings.Join(slices.Sorted(maps.Keys(ours)), "\n"))
	}
}

// TestRecordedItemsSurvive: our writes to rows of Java workers change only the attributes that they
// name. Unknown attributes survive.
func TestRecordedItemsSurvive(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{})
	require.NoError(t, s.Init(t.Context()))
	f, err := os.Open("testdata/java-fleets.jsonl")
	require.NoError(t, err)
	defer f.Close()
	unknown := dynamotest.Item{
		"futureText": dynamotest.S(""), "futureNumber": dynamotest.N("1.5"), "futureBytes": dynamotest.B([]byte{0, 255}),
		"futureList": {Type: "L", List: []dynamotest.Value{{Type: "NULL"}, {Type: "BOOL", Bool: true}}},
		"futureMap":  {Type: "M", Map: dynamotest.Item{"a": dynamotest.SS("b", "c")}},
	}
	n := 0
	for scan := bufio.NewScanner(f); scan.Scan(); {
		var r struct {
			From, Side string
			Item       dynamotest.Item
		}
		require.NoError(t, json.Unmarshal(scan.Bytes(), &r))
		if r.Item["leaseCounter"].Type == "" {
			continue
		}
		n++
		maps.Copy(r.Item, unknown)
		key := r.Item["leaseKey"].Text
		for name, tt := range map[string]struct {
			set     leases.Attr
			touches []string
		}{
			"renew": {leases.AttrCounter | leases.AttrThroughput, []string{"leaseCounter", "throughputKBps"}},
			"checkpoint": {leases.AttrCounter | leases.AttrCheckpoint | leases.AttrPending | leases.AttrOwnerSwitches, []string{
				"leaseCounter", "checkpoint", "checkpointSubSequenceNumber", "ownerSwitchesSinceCheckpoint",
			}},
			"take": {leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter | leases.AttrNativeOwner, []string{
				"leaseOwner", "checkpointOwner", "leaseCounter", "goOwner",
			}},
			"ask": {leases.AttrOwner | leases.AttrCheckpointOwner, []string{"leaseOwner", "checkpointOwner"}},
		} {
			srv.Put(table, r.Item)
			read, err := s.Get(t.Context(), key)
			require.NoError(t, err, r.From)
			to := read
			to.Counter++
			to.ThroughputKBps, to.NativeOwner, to.OwnerSwitchesSinceCheckpoint = 1.25, "go", 0
			to.Owner, to.CheckpointOwner = "go", read.Owner
			to.Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: "7", SubSequenceNumber: 1}
			require.NoError(t, s.Update(t.Context(), leases.Update{Read: read, Expect: leases.AttrAll, To: to, Set: tt.set}),
				r.From)
			want, got := maps.Clone(r.Item), maps.Clone(itemOf(t, srv, key))
			require.NotEqual(t, want, got, name)
			for _, a := range tt.touches {
				delete(want, a)
				delete(got, a)
			}
			require.Equal(t, want, got, "%s of %s, %s", name, key, r.From)
		}
	}
	require.Equal(t, 204, n)
}
