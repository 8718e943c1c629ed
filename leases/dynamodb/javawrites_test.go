package dynamodb_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// request is a write to DynamoDB, in either of the languages that it
// understands.
type request struct {
	Item             map[string]map[string]any
	AttributeUpdates map[string]struct{ Action string }
	Expected         map[string]struct{ Exists *bool }

	UpdateExpression          string
	ConditionExpression       string
	KeyConditionExpression    string
	IndexName                 string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]map[string]any
}

// shape says which attributes a write touches, and under which conditions, in
// one way only: "UpdateItem set a b remove c if a = b absent".
func shape(t *testing.T, op string, body []byte) string {
	t.Helper()
	var r request
	require.NoError(t, json.Unmarshal(body, &r))
	var sets, removes []string
	conditions := map[string]string{}
	for name, v := range r.Item {
		for kind := range v {
			sets = append(sets, name+":"+kind)
		}
	}
	for name, u := range r.AttributeUpdates {
		if u.Action == "DELETE" {
			removes = append(removes, name)
		} else {
			sets = append(sets, name)
		}
	}
	for name, e := range r.Expected {
		if conditions[name] = name + " ="; e.Exists != nil && !*e.Exists {
			conditions[name] = name + " absent"
		}
	}
	resolve := func(placeholder string) string {
		placeholder = strings.Trim(placeholder, "() ")
		if name, ok := r.ExpressionAttributeNames[placeholder]; ok {
			return name
		}
		return placeholder
	}
	set, remove, _ := strings.Cut(strings.TrimPrefix(r.UpdateExpression, "SET "), "REMOVE ")
	for part := range strings.SplitSeq(set, ",") {
		if name, _, ok := strings.Cut(part, "="); ok {
			sets = append(sets, resolve(name))
		}
	}
	for name := range strings.SplitSeq(remove, ",") {
		if name != "" {
			removes = append(removes, resolve(name))
		}
	}
	for _, expression := range []string{r.ConditionExpression, r.KeyConditionExpression} {
		for term := range strings.SplitSeq(expression, " AND ") {
			name, _, _ := strings.Cut(term, " OR ")
			switch rest, ok := strings.CutPrefix(strings.TrimPrefix(name, "("), "attribute_not_exists"); {
			case term == "":
			case ok:
				conditions[resolve(rest)] = resolve(rest) + " absent"
			case strings.HasPrefix(name, "attribute_exists"):
				name = resolve(strings.TrimPrefix(name, "attribute_exists"))
				conditions[name] = name + " ="
			default:
				name, _, _ = strings.Cut(name, "=")
				conditions[resolve(name)] = resolve(name) + " ="
			}
		}
	}
	slices.Sort(sets)
	slices.Sort(removes)
	out := []string{op}
	if r.IndexName != "" {
		out = append(out, r.IndexName)
	}
	add := func(word string, names []string) {
		if len(names) > 0 {
			out = append(out, word+" "+strings.Join(names, " "))
		}
	}
	add("set", sets)
	add("remove", removes)
	add("if", slices.Sorted(maps.Values(conditions)))
	return strings.Join(out, " ")
}

// javaWrites are the shapes of all writes of the recorded Java workers.
func javaWrites(t *testing.T) map[string]bool {
	t.Helper()
	f, err := os.Open("testdata/java-writes.jsonl")
	require.NoError(t, err)
	defer f.Close()
	shapes := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var r struct {
			Op      string
			Request json.RawMessage
		}
		require.NoError(t, json.Unmarshal(s.Bytes(), &r))
		shapes[shape(t, r.Op, r.Request)] = true
	}
	require.Greater(t, len(shapes), 20)
	return shapes
}

// TestWritesBesideJava compares our writes with those of Java workers: each
// touches what the Java one does, and has its conditions; where it differs, the
// table says so.
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
			"take: also the owners must be as judged, and who of ours it is is noted; what we write of a hand-over goes with it",
			"UpdateItem set leaseCounter leaseOwner ownerSwitchesSinceCheckpoint remove checkpointOwner if leaseCounter =",
			"UpdateItem set goOwner leaseCounter leaseOwner ownerSwitchesSinceCheckpoint remove checkpointOwner goHandoverTo " +
				"if checkpointOwner absent leaseCounter = leaseKey = leaseOwner absent",
		},
		{
			"renew: also the owner must be as held",
			"UpdateItem set leaseCounter if checkpointOwner absent leaseCounter =",
			"UpdateItem set leaseCounter if checkpointOwner absent leaseCounter = leaseKey = leaseOwner =",
		},
		{
			"renew while a hand-over waits: also its owner must be as held",
			"UpdateItem set leaseCounter throughputKBps if leaseCounter =",
			"UpdateItem set leaseCounter if checkpointOwner = leaseCounter = leaseKey =",
		},
		{
			"first checkpoint: the hash keys of a row are there already, and the time of its start goes",
			"UpdateItem set checkpoint checkpointSubSequenceNumber endingHashKey leaseCounter ownerSwitchesSinceCheckpoint " +
				"startingHashKey remove pendingCheckpoint pendingCheckpointState pendingCheckpointSubSequenceNumber if " +
				"leaseCounter =",
			"UpdateItem set checkpoint checkpointSubSequenceNumber leaseCounter ownerSwitchesSinceCheckpoint remove " +
				"goPinnedAt pendingCheckpoint pendingCheckpointState pendingCheckpointSubSequenceNumber if checkpointOwner " +
				"absent leaseCounter = leaseKey = leaseOwner =",
		},
		{
			"children: it is a renewal too",
			"UpdateItem set childShardIds if leaseKey =",
			"UpdateItem set childShardIds leaseCounter if checkpointOwner absent leaseCounter = leaseKey = leaseOwner =",
		},
		{
			"ask for a lease, which in the KCL only the leader does: also it must be a worker of ours that is asked",
			"UpdateItem set checkpointOwner leaseOwner if checkpointOwner absent leaseKey = leaseOwner =",
			"UpdateItem set checkpointOwner goHandoverTo leaseOwner if checkpointOwner absent goOwner = leaseKey = leaseOwner =",
		},
		{
			"have a lease handed over, as the leader",
			"UpdateItem set checkpointOwner leaseOwner if checkpointOwner absent leaseKey = leaseOwner =",
			"UpdateItem set checkpointOwner goHandoverTo leaseOwner if checkpointOwner absent leaseKey = leaseOwner =",
		},
		{
			"hand over: the next owner stays as it is, and the counter must be as held",
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
			"report, KCL 3.5: never over a lease, marked as ours, with the limits of its worker",
			"UpdateItem set entityType lut opr slu sts sup",
			"UpdateItem set entityType goHandover goMaxLeases goWorker lut opr slu sts sup if leaseKey absent",
		},
		{
			"report, KCL 3.4: what newer ones tell besides",
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
			"next state of the client version: also the time must be as read, as the history depends on it",
			"UpdateItem set cv h mb mts if cv = leaseKey =",
			"UpdateItem set cv h mb mts if cv = leaseKey = mts =",
		},
		{
			"leases by owner",
			"Query LeaseOwnerToLeaseKeyIndex if leaseOwner =",
			"Query LeaseOwnerToLeaseKeyIndex if leaseOwner =",
		},
		{
			"delete: never without a condition",
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

// writeEverything has two workers do all that workers do, with and without a
// leader.
func writeEverything(t *testing.T, srv *dynamotest.Server, s *dynamodb.Store) {
	for i := range 4 {
		l := lease(fmt.Sprintf("shardId-%012d", i))
		l.HashKeyRange = kcl.HashKeyRange{Start: fmt.Sprint(i * 10), End: fmt.Sprint(i*10 + 9)}
		if i == 3 {
			l.Parents = []string{"shardId-000000000000"}
		}
		require.NoError(t, s.Create(t.Context(), l))
	}
	start := func(id string, assignment leases.Assignment) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		c := coordinator.New(coordinator.Config{
			Store: s, WorkerID: id, Logger: slog.New(slog.DiscardHandler), Assignment: assignment,
			Consume: func(ctx context.Context, h *holder.Holder) {
				_ = h.Checkpoint(ctx, kcl.ExtendedSequenceNumber{SequenceNumber: "1"})
				_ = h.SetChildren(ctx, []string{"shardId-000000000003"})
				<-h.Stopping()
				time.Sleep(5 * time.Second) // renewals while a hand-over waits
			},
		})
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.Run(ctx) })
		return func() { cancel(); wg.Wait() }
	}
	for _, assignment := range []leases.Assignment{leases.AssignmentNative, leases.AssignmentKCL3} {
		stopA := start("a", assignment)
		time.Sleep(20 * time.Second)
		stopB := start("b", assignment)
		time.Sleep(2 * time.Minute)
		stopA()
		stopB()
	}

	read, err := s.Get(t.Context(), "shardId-000000000003")
	require.NoError(t, err)
	require.NoError(t, s.Delete(t.Context(), read, leases.AttrOwner|leases.AttrCheckpointOwner|leases.AttrCounter))
	_, err = s.Fleet().OwnedBy(t.Context(), "a")
	require.NoError(t, err)

	fleet := func(s *dynamodb.Store) {
		lock := leases.LeaderLock{Owner: "a", Version: "v1", Duration: 20 * time.Second}
		require.NoError(t, s.Fleet().AcquireLeader(t.Context(), nil, lock))
		require.NoError(t, s.Fleet().HeartbeatLeader(t.Context(), lock, "v2"))
		lock.Version = "v2"
		require.NoError(t, s.Fleet().ReleaseLeader(t.Context(), lock))
		require.NoError(t, s.Fleet().ReportWorker(t.Context(), leases.WorkerMetrics{
			Worker: "a", Updated: time.Now(), Support: 1, SupportUpdated: time.Now(), Native: true,
		}))
		state := leases.MigrationState{Status: leases.ClientVersion3xRollback, By: "a", At: time.Now()}
		require.NoError(t, s.Fleet().SetClientVersion(t.Context(), nil, state))
		require.NoError(t, s.Fleet().SetClientVersion(t.Context(), &state, leases.MigrationState{
			Status: leases.ClientVersion3x, By: "a", At: time.Now(),
		}))
	}
	fleet(s)
	_, err = awstest.DynamoDB(t, srv).DeleteItem(t.Context(), deleteState())
	require.NoError(t, err)
	sideTables(t, srv)
	fleet(storeOn(t, srv))
}

// deleteState makes room for the state in the side table.
func deleteState() *sdk.DeleteItemInput {
	return &sdk.DeleteItemInput{
		TableName: aws.String(table),
		Key:       map[string]types.AttributeValue{"leaseKey": &types.AttributeValueMemberS{Value: "Migration3.0"}},
	}
}

// TestRecordedItemsSurvive: our writes to rows of Java workers, with attributes
// that nobody knows yet, leave what they do not name as it is.
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
