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

// request is a write to DynamoDB, with expressions or with the older parameters.
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

// shape returns the attributes that a write changes, and its conditions, as a text: "UpdateItem set
// a b remove c if a = b absent". Equal shapes are equal texts.
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

// writeEverything lets two workers make every kind of write, with and without a leader.
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

// deleteState removes the state of the client version from the lease table, so that it is made in
// the side table.
func deleteState() *sdk.DeleteItemInput {
	return &sdk.DeleteItemInput{
		TableName: aws.String(table),
		Key:       map[string]types.AttributeValue{"leaseKey": &types.AttributeValueMemberS{Value: "Migration3.0"}},
	}
}
