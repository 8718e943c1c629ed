package dynamotest_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
)

// TestLag: reads without ConsistentRead return the table as it was.
func TestLag(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := serve(t, dynamotest.Config{Lag: time.Second})
		put(t, client, item{"leaseKey": str("a"), "v": num("1")})
		require.Empty(t, get(t, client, "a", false))
		require.NotEmpty(t, get(t, client, "a", true))
		time.Sleep(time.Second)
		require.Equal(t, num("1"), get(t, client, "a", false)["v"])
		put(t, client, item{"leaseKey": str("a"), "v": num("2")})
		time.Sleep(500 * time.Millisecond)
		_, err := client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: table, Key: item{"leaseKey": str("a")}})
		require.NoError(t, err)
		require.Empty(t, get(t, client, "a", true))
		require.Empty(t, srv.Items(*table))
		require.Equal(t, num("1"), get(t, client, "a", false)["v"])
		time.Sleep(500 * time.Millisecond)
		require.Equal(t, num("2"), get(t, client, "a", false)["v"])
		time.Sleep(500 * time.Millisecond)
		require.Empty(t, get(t, client, "a", false))
	})
}

// TestFaults: each action has its effect on the calls that the fault selects, and on no other.
func TestFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := serve(t, dynamotest.Config{})
		write := func(key string) (took time.Duration, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			start := time.Now()
			_, err = client.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: item{"leaseKey": str(key)}})
			return time.Since(start), err
		}
		for name, tt := range map[string]struct {
			do      dynamotest.Action
			code    string
			failed  bool
			applied bool
			took    time.Duration
		}{
			"delay":         {do: dynamotest.Delay(time.Second), applied: true, took: time.Second},
			"delay answer":  {do: dynamotest.DelayAnswer(2 * time.Second), applied: true, took: 2 * time.Second},
			"fail":          {do: dynamotest.Fail("InternalServerError", "boom"), failed: true, code: "InternalServerError"},
			"throttle":      {do: dynamotest.Throttle(), failed: true, code: "ProvisionedThroughputExceededException"},
			"deny":          {do: dynamotest.Deny(), failed: true, code: "AccessDeniedException"},
			"lose request":  {do: dynamotest.LoseRequest(), failed: true},
			"lose answer":   {do: dynamotest.LoseAnswer(), failed: true, applied: true},
			"silence":       {do: dynamotest.Silence(), failed: true, took: 5 * time.Second},
			"silent answer": {do: dynamotest.SilentAnswer(), failed: true, applied: true, took: 5 * time.Second},
		} {
			remove := srv.Inject(dynamotest.Fault{Operation: "PutItem", Key: name, Do: []dynamotest.Action{tt.do}})
			took, err := write(name)
			require.Equal(t, tt.failed, err != nil, "%s: %v", name, err)
			if tt.code != "" {
				requireCode(t, err, tt.code, "")
			}
			require.Equal(t, tt.took, took, name)
			require.Equal(t, tt.applied, len(get(t, client, name, true)) > 0, name)
			remove()
			_, err = write(name)
			require.NoError(t, err)
		}

		calls := srv.Calls("PutItem")
		srv.Inject(dynamotest.Fault{
			Operation: "PutItem", Client: "client", Skip: 1, Times: 2, Do: []dynamotest.Action{dynamotest.Throttle()},
		})
		srv.Inject(dynamotest.Fault{Operation: "PutItem", Client: "elsewhere", Do: []dynamotest.Action{dynamotest.Deny()}})
		var failed []bool
		for range 4 {
			_, err := write("x")
			failed = append(failed, err != nil)
		}
		require.Equal(t, []bool{false, true, true, false}, failed)
		require.Equal(t, calls+4, srv.Calls("PutItem"))
		other := awstest.DynamoDBFrom(t, srv, "elsewhere", func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
		_, err := other.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: table, Item: item{"leaseKey": str("y")}})
		requireCode(t, err, "AccessDeniedException", "")
		require.Contains(t, slices.Collect(maps.Keys(srv.AllCalls())), "GetItem")
	})
}

// TestLate: a call takes effect some time after its client has given up.
func TestLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := serve(t, dynamotest.Config{})
		remove := srv.Inject(dynamotest.Fault{
			Operation: "PutItem", Do: []dynamotest.Action{dynamotest.Late(3 * time.Second)},
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: item{"leaseKey": str("late")}})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		remove()
		time.Sleep(2 * time.Second)
		require.Empty(t, get(t, client, "late", true))
		time.Sleep(2 * time.Second)
		require.NotEmpty(t, get(t, client, "late", true))
	})
}

// TestFreeze: the requests of a frozen client take effect when it thaws, although it has given up.
func TestFreeze(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := serve(t, dynamotest.Config{})
		frozen := awstest.DynamoDBFrom(t, srv, "frozen")
		thaw := srv.Freeze(func(c dynamotest.Call) bool { return c.Client == "frozen" })
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := frozen.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: item{"leaseKey": str("late")}})
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		wg.Wait()
		time.Sleep(time.Minute)
		require.Empty(t, get(t, client, "late", true))
		thaw()
		synctest.Wait()
		require.NotEmpty(t, get(t, client, "late", true))
	})
}

// TestOnCall: a hook decides about each call.
func TestOnCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := serve(t, dynamotest.Config{})
		remove := srv.OnCall(func(c dynamotest.Call) []dynamotest.Action {
			if c.Key == "bad" {
				return []dynamotest.Action{dynamotest.Throttle()}
			}
			return nil
		})
		put(t, client, item{"leaseKey": str("good")})
		_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: table, Item: item{"leaseKey": str("bad")}})
		requireCode(t, err, "ProvisionedThroughputExceededException", "")
		remove()
		put(t, client, item{"leaseKey": str("bad")})
	})
}

// TestOnChange: each change is told with its client, and a refused write is not told.
func TestOnChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []string
		srv, client := serve(t, dynamotest.Config{OnChange: func(c dynamotest.Change) {
			told = append(told, c.Client+" "+c.Table+" "+c.Before["v"].Text+" -> "+c.After["v"].Text)
		}})
		put(t, client, item{"leaseKey": str("a"), "v": num("1")})
		_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{
			TableName: table, Item: item{"leaseKey": str("a"), "v": num("2")},
			ConditionExpression:      aws.String("attribute_not_exists(#k)"),
			ExpressionAttributeNames: map[string]string{"#k": "leaseKey"},
		})
		requireCode(t, err, "ConditionalCheckFailedException", "")
		other := awstest.DynamoDBFrom(t, srv, "other")
		put(t, other, item{"leaseKey": str("a"), "v": num("3")})
		_, err = client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: table, Key: item{"leaseKey": str("a")}})
		require.NoError(t, err)
		require.Equal(t, []string{"client leases  -> 1", "other leases 1 -> 3", "client leases 3 -> "}, told)
	})
}
