package dynamotest_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
)

type item = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }

var table = aws.String("leases")

// serve starts a fake with a table whose key is leaseKey.
func serve(t *testing.T, cfg dynamotest.Config) (*dynamotest.Server, *dynamodb.Client) {
	t.Helper()
	srv := dynamotest.Start(cfg)
	t.Cleanup(srv.Close)
	client := awstest.DynamoDB(t, srv, func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
	create(t, client)
	return srv, client
}

// A request that cannot be read to its end is no success.
func TestRequestTooLarge(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/",
		strings.NewReader(strings.Repeat(" ", 16<<20+1)))
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810.PutItem")
	w := httptest.NewRecorder()
	dynamotest.New(dynamotest.Config{}).ServeHTTP(w, r)
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "too large")
}

// A client that goes away in the middle of its request has made no call: no
// fault meets it, and it is not counted.
func TestRequestIsCut(t *testing.T) {
	t.Parallel()
	srv := dynamotest.New(dynamotest.Config{})
	var met []dynamotest.Call
	srv.Inject(dynamotest.Fault{
		When: func(c dynamotest.Call) bool { met = append(met, c); return true },
		Do:   []dynamotest.Action{dynamotest.Deny()},
	})
	body := io.MultiReader(strings.NewReader(`{"TableName":"app`), iotest.ErrReader(io.ErrUnexpectedEOF))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810.Scan")
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "unexpected EOF")
	require.Empty(t, met)
	require.Zero(t, srv.Calls("Scan"))
}

func create(t *testing.T, client *dynamodb.Client) {
	t.Helper()
	_, err := client.CreateTable(t.Context(), createInput())
	require.NoError(t, err)
}

func createInput() *dynamodb.CreateTableInput {
	return &dynamodb.CreateTableInput{
		TableName: table, BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS},
		},
	}
}

func put(t *testing.T, client *dynamodb.Client, it item) {
	t.Helper()
	_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: table, Item: it})
	require.NoError(t, err)
}

func get(t *testing.T, client *dynamodb.Client, key string, consistent bool) item {
	t.Helper()
	out, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: table, Key: item{"leaseKey": str(key)}, ConsistentRead: &consistent,
	})
	require.NoError(t, err)
	return out.Item
}

func requireCode(t *testing.T, err error, code, message string) {
	t.Helper()
	var api smithy.APIError
	require.ErrorAs(t, err, &api)
	require.Equal(t, code, api.ErrorCode())
	require.Contains(t, api.ErrorMessage(), message)
}

// TestValues: every type comes back, numbers in the service's form.
func TestValues(t *testing.T) {
	t.Parallel()
	_, client := serve(t, dynamotest.Config{})
	want := item{
		"leaseKey": str("a"), "S": str("ö\x00\"<>&"), "empty": str(""), "N": num("-12.5"),
		"B":    &types.AttributeValueMemberB{Value: []byte{0, 255}},
		"BOOL": &types.AttributeValueMemberBOOL{Value: true}, "NULL": &types.AttributeValueMemberNULL{Value: true},
		"SS": &types.AttributeValueMemberSS{Value: []string{"x", "y"}},
		"NS": &types.AttributeValueMemberNS{Value: []string{"1", "2"}},
		"BS": &types.AttributeValueMemberBS{Value: [][]byte{{1}, {2}}},
		"L":  &types.AttributeValueMemberL{Value: []types.AttributeValue{str("x"), num("1")}},
		"M": &types.AttributeValueMemberM{
			Value: item{
				"deep": &types.AttributeValueMemberM{Value: item{}},
				"l":    &types.AttributeValueMemberL{Value: []types.AttributeValue{}},
			},
		},
	}
	put(t, client, want)
	require.Equal(t, want, get(t, client, "a", true))
	for in, out := range map[string]string{
		"1.0E-5": "0.00001", "100.0": "100", "1.23456789E7": "12345678.9", "-0": "0", "007": "7", "+5": "5", ".5": "0.5",
		"1E3":                                    "1000",
		"99999999999999999999999999999999999999": "99999999999999999999999999999999999999",
	} {
		put(t, client, item{"leaseKey": str("n"), "n": num(in)})
		require.Equal(t, num(out), get(t, client, "n", true)["n"], in)
	}
	for _, bad := range []types.AttributeValue{
		num("x"), num(""), num("1e"), num("1E126"), num("1E-131"), num("123456789012345678901234567890123456789"), num("0x1"),
		&types.AttributeValueMemberSS{Value: []string{}}, &types.AttributeValueMemberSS{Value: []string{"a", "a"}},
		&types.AttributeValueMemberNS{Value: []string{"1", "1.0"}},
	} {
		_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{
			TableName: table, Item: item{"leaseKey": str("n"), "n": bad},
		})
		requireCode(t, err, "ValidationException", "")
	}
}

// TestConditions: one row, many conditions.
func TestConditions(t *testing.T) {
	t.Parallel()
	_, client := serve(t, dynamotest.Config{})
	row := item{
		"leaseKey": str("a"), "owner": str("w1"), "counter": num("7"),
		"set": &types.AttributeValueMemberSS{Value: []string{"x", "y"}},
	}
	values := item{
		":w1": str("w1"), ":w2": str("w2"), ":7": num("7.0"), ":s7": str("7"),
		":set": &types.AttributeValueMemberSS{Value: []string{"y", "x"}},
	}
	for condition, want := range map[string]bool{
		"#owner = :w1": true, "#owner = :w2": false, "#none = :w1": false,
		"#counter = :7": true, "#counter = :s7": false, "#set = :set": true,
		"attribute_exists(#owner)": true, "attribute_not_exists(#owner)": false, "attribute_not_exists ( #none )": true,
		"NOT #owner = :w1": false, "not attribute_exists(#none)": true,
		"#owner = :w1 AND #counter = :7": true, "#owner = :w2 AND #counter = :7": false,
		"#owner = :w2 OR #counter = :7": true, "#owner = :w1 OR #owner = :w2 AND #counter = :s7": true,
		"(#owner = :w1 OR #owner = :w2) AND #counter = :s7": false, "((#owner = :w1))and#counter=:7": true,
		"attribute_exists(#none) OR (attribute_exists(#owner) AND NOT (#owner = :w2))": true,
	} {
		put(t, client, row)
		e := pick(condition, values)
		_, err := client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: table, Key: item{"leaseKey": str("a")}, ConditionExpression: &condition,
			ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		})
		if want {
			require.NoError(t, err, condition)
			continue
		}
		var failed *types.ConditionalCheckFailedException
		require.ErrorAs(t, err, &failed, condition)
		require.Equal(t, row, failed.Item)
	}
	_, err := client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
		TableName: table, Key: item{"leaseKey": str("b")}, ConditionExpression: aws.String("attribute_exists(#owner)"),
		ExpressionAttributeNames: map[string]string{"#owner": "owner"},
	})
	var failed *types.ConditionalCheckFailedException
	require.ErrorAs(t, err, &failed)
	require.Nil(t, failed.Item)
}

type picked struct {
	names  map[string]string
	values item
}

// pick makes placeholders for the names in an expression and takes the values it uses.
func pick(expression string, from item) picked {
	p := picked{names: map[string]string{}}
	for i := 0; i < len(expression); i++ {
		if c := expression[i]; c != '#' && c != ':' {
			continue
		}
		j := i + 1
		for j < len(expression) && strings.IndexByte("abcdefghijklmnopqrstuvwxyz0123456789", expression[j]) >= 0 {
			j++
		}
		if word := expression[i:j]; word[0] == '#' {
			p.names[word] = word[1:]
		} else {
			if p.values == nil {
				p.values = item{}
			}
			p.values[word] = from[word]
		}
	}
	return p
}

func TestUpdates(t *testing.T) {
	t.Parallel()
	_, client := serve(t, dynamotest.Config{})
	update := func(expression string, values item, returns types.ReturnValue) item {
		t.Helper()
		e := pick(expression, values)
		out, err := client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: table, Key: item{"leaseKey": str("a")}, UpdateExpression: &expression,
			ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values, ReturnValues: returns,
		})
		require.NoError(t, err)
		return out.Attributes
	}
	require.Nil(t, update("SET #a = :1, #b = :2", item{":1": num("1"), ":2": num("2")}, ""), "and makes the row")
	require.Equal(t, item{"leaseKey": str("a"), "a": num("3"), "c": num("1")},
		update("REMOVE #b, #nothing SET #a = :3, #c = :1", item{":1": num("1"), ":3": num("3")}, types.ReturnValueAllNew))
	require.Equal(t, item{"leaseKey": str("a"), "a": num("3"), "c": num("1")},
		update("remove #a", nil, types.ReturnValueAllOld))
	require.Equal(t, item{"leaseKey": str("a"), "c": num("1")}, get(t, client, "a", true))
	out, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{
		TableName: table, Item: item{"leaseKey": str("a")}, ReturnValues: types.ReturnValueAllOld,
	})
	require.NoError(t, err)
	require.Equal(t, item{"leaseKey": str("a"), "c": num("1")}, out.Attributes)
	del, err := client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
		TableName: table, Key: item{"leaseKey": str("a")}, ReturnValues: types.ReturnValueAllOld,
	})
	require.NoError(t, err)
	require.Equal(t, item{"leaseKey": str("a")}, del.Attributes)
	require.Empty(t, get(t, client, "a", true))
}

// TestRefusals: what the service refuses, and what this fake does not know, is
// an error and not ignored.
func TestRefusals(t *testing.T) {
	t.Parallel()
	_, client := serve(t, dynamotest.Config{})
	many := ""
	for len(many) < 4096 {
		many += "attribute_exists(#a) AND "
	}
	big := str(string(make([]byte, 410<<10)))
	for name, tt := range map[string]struct {
		in   dynamodb.UpdateItemInput
		want string
	}{
		"unused name": {dynamodb.UpdateItemInput{
			UpdateExpression: aws.String("REMOVE #a"), ExpressionAttributeNames: map[string]string{"#a": "a", "#b": "b"},
		}, "ExpressionAttributeNames unused in expressions: keys: {#b}"},
		"unused value": {dynamodb.UpdateItemInput{
			UpdateExpression: aws.String("REMOVE #a"), ExpressionAttributeNames: map[string]string{"#a": "a"},
			ExpressionAttributeValues: item{":b": num("1")},
		}, "ExpressionAttributeValues unused in expressions: keys: {:b}"},
		"undefined name": {dynamodb.UpdateItemInput{UpdateExpression: aws.String("REMOVE #a")}, "attribute name: #a"},
		"undefined value": {dynamodb.UpdateItemInput{
			UpdateExpression: aws.String("SET #a = :b"), ExpressionAttributeNames: map[string]string{"#a": "a"},
		}, "attribute value: :b"},
		"overlap": {dynamodb.UpdateItemInput{
			UpdateExpression:         aws.String("REMOVE #a SET #b = :b"),
			ExpressionAttributeNames: map[string]string{"#a": "a", "#b": "a"}, ExpressionAttributeValues: item{":b": num("1")},
		}, "Two document paths overlap"},
		"clause twice": {dynamodb.UpdateItemInput{
			UpdateExpression:         aws.String("REMOVE #a REMOVE #b"),
			ExpressionAttributeNames: map[string]string{"#a": "a", "#b": "b"},
		}, "can only be used once"},
		"key attribute": {dynamodb.UpdateItemInput{
			UpdateExpression: aws.String("SET #a = :b"), ExpressionAttributeNames: map[string]string{"#a": "leaseKey"},
			ExpressionAttributeValues: item{":b": str("x")},
		}, "This attribute is part of the key"},
		"plain name": {dynamodb.UpdateItemInput{UpdateExpression: aws.String("REMOVE a")}, "wants #name"},
		"unknown clause": {dynamodb.UpdateItemInput{
			UpdateExpression: aws.String("ADD #a :b"), ExpressionAttributeNames: map[string]string{"#a": "a"},
		}, "Syntax error"},
		"unknown function": {dynamodb.UpdateItemInput{
			ConditionExpression: aws.String("size(#a) = :b"), ExpressionAttributeNames: map[string]string{"#a": "a"},
		}, "wants #name in place of size"},
		"comparison": {dynamodb.UpdateItemInput{
			ConditionExpression: aws.String("#a > :b"), ExpressionAttributeNames: map[string]string{"#a": "a"},
		}, "Syntax error"},
		"half a condition": {dynamodb.UpdateItemInput{
			ConditionExpression: aws.String("#a ="), ExpressionAttributeNames: map[string]string{"#a": "a"},
		}, "<EOF>"},
		"open bracket": {dynamodb.UpdateItemInput{
			ConditionExpression: aws.String("(attribute_exists(#a)"), ExpressionAttributeNames: map[string]string{"#a": "a"},
		}, "<EOF>"},
		"trailing words": {dynamodb.UpdateItemInput{
			ConditionExpression: aws.String("attribute_exists(#a) #a"), ExpressionAttributeNames: map[string]string{"#a": "a"},
		}, `token: "#a"`},
		"empty":    {dynamodb.UpdateItemInput{ConditionExpression: aws.String(" ")}, "can not be empty"},
		"too long": {dynamodb.UpdateItemInput{ConditionExpression: &many}, "maximum allowed size"},
		"item too large": {dynamodb.UpdateItemInput{
			UpdateExpression: aws.String("SET #a = :b"), ExpressionAttributeNames: map[string]string{"#a": "a"},
			ExpressionAttributeValues: item{":b": big},
		}, "Item size to update has exceeded"},
		"wrong key": {dynamodb.UpdateItemInput{Key: item{"shardId": str("a")}}, "does not match the schema"},
		"key type":  {dynamodb.UpdateItemInput{Key: item{"leaseKey": num("1")}}, "does not match the schema"},
		"empty key": {dynamodb.UpdateItemInput{Key: item{"leaseKey": str("")}}, "empty string"},
		"more than key": {dynamodb.UpdateItemInput{
			Key: item{"leaseKey": str("a"), "x": str("a")},
		}, "does not match the schema"},
	} {
		in := tt.in
		in.TableName = table
		if in.Key == nil {
			in.Key = item{"leaseKey": str("a")}
		}
		_, err := client.UpdateItem(t.Context(), &in)
		require.Error(t, err, name)
		requireCode(t, err, "ValidationException", tt.want)
	}
	_, err := client.BatchGetItem(t.Context(), &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{
			*table: {Keys: []map[string]types.AttributeValue{{"leaseKey": str("a")}}},
		},
	})
	requireCode(t, err, "UnknownOperationException", "BatchGetItem")
	_, err = client.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: table, Key: item{"leaseKey": str("a")}, ProjectionExpression: aws.String("a"),
	})
	requireCode(t, err, "SerializationException", "ProjectionExpression")
}

// TestScan: pages, empty pages and segments together give every row once.
func TestScan(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg      dynamotest.Config
		segments int32
		limit    *int32
	}{
		"one page":    {segments: 1},
		"small pages": {cfg: dynamotest.Config{PageRows: 7}, segments: 1},
		"empty pages": {cfg: dynamotest.Config{PageRows: 50, EmptyPages: true}, segments: 1},
		"segments":    {cfg: dynamotest.Config{PageRows: 3}, segments: 5},
		"limit":       {segments: 2, limit: aws.Int32(10)},
	} {
		srv, client := serve(t, tt.cfg)
		want := map[string]bool{}
		for i := range 200 {
			key := fmt.Sprintf("shardId-%012d", i)
			want[key] = true
			srv.Put(*table, dynamotest.Item{"leaseKey": dynamotest.S(key)})
		}
		for segment := range tt.segments {
			in := &dynamodb.ScanInput{TableName: table, Limit: tt.limit}
			if tt.segments > 1 {
				in.Segment, in.TotalSegments = &segment, &tt.segments
			}
			rows := 0
			for {
				out, err := client.Scan(t.Context(), in)
				require.NoError(t, err)
				for _, it := range out.Items {
					key := it["leaseKey"].(*types.AttributeValueMemberS).Value
					require.True(t, want[key], "%s: %s twice", name, key)
					delete(want, key)
					rows++
				}
				if out.LastEvaluatedKey == nil {
					break
				}
				in.ExclusiveStartKey = out.LastEvaluatedKey
			}
			require.NotZero(t, rows, name)
		}
		require.Empty(t, want, name)
	}
	// A megabyte ends a page.
	srv, client := serve(t, dynamotest.Config{})
	for i := range 10 {
		srv.Put(*table, dynamotest.Item{"leaseKey": dynamotest.S(fmt.Sprint(i)), "x": dynamotest.B(make([]byte, 300<<10))})
	}
	out, err := client.Scan(t.Context(), &dynamodb.ScanInput{TableName: table})
	require.NoError(t, err)
	require.Len(t, out.Items, 4)
	require.NotNil(t, out.LastEvaluatedKey)
}

// TestTables walks a table through its life.
func TestTables(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{SettleTime: 10 * time.Second})
		defer srv.Close()
		client := awstest.DynamoDB(t, srv, func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
		status := func() types.TableStatus {
			out, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: table})
			if err != nil {
				requireCode(t, err, "ResourceNotFoundException", "leases not found")
				return ""
			}
			return out.Table.TableStatus
		}
		getting := func() error {
			_, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: table, Key: item{"leaseKey": str("a")}})
			return err
		}
		require.Empty(t, status())
		create(t, client)
		require.Equal(t, types.TableStatusCreating, status())
		_, err := client.CreateTable(t.Context(), createInput())
		requireCode(t, err, "ResourceInUseException", "Table already exists")
		requireCode(t, getting(), "ResourceNotFoundException", "")
		time.Sleep(10 * time.Second)
		require.Equal(t, types.TableStatusActive, status())
		require.NoError(t, getting())

		_, err = client.UpdateTable(t.Context(), &dynamodb.UpdateTableInput{
			TableName: table,
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String("leaseOwner"), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS},
			},
			GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
				IndexName: aws.String("LeaseOwnerToLeaseKeyIndex"),
				KeySchema: []types.KeySchemaElement{
					{AttributeName: aws.String("leaseOwner"), KeyType: types.KeyTypeHash},
					{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeRange},
				},
				Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
			}}},
		})
		require.NoError(t, err)
		require.Equal(t, types.TableStatusUpdating, status())
		require.NoError(t, getting(), "an UPDATING table works")
		time.Sleep(10 * time.Second)
		out, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: table})
		require.NoError(t, err)
		require.Equal(t, types.IndexStatusActive, out.Table.GlobalSecondaryIndexes[0].IndexStatus)
		require.Len(t, out.Table.AttributeDefinitions, 2)

		protect := func(on bool) {
			_, err := client.UpdateTable(t.Context(), &dynamodb.UpdateTableInput{
				TableName: table, DeletionProtectionEnabled: &on,
			})
			require.NoError(t, err)
		}
		protect(true)
		_, err = client.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: table})
		requireCode(t, err, "ValidationException", "protected against deletion")
		protect(false)
		_, err = client.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: table})
		require.NoError(t, err)
		require.Equal(t, types.TableStatusDeleting, status())
		requireCode(t, getting(), "ResourceNotFoundException", "")
		time.Sleep(10 * time.Second)
		require.Empty(t, status())
		create(t, client)
	})
}

// TestLag: reads that do not ask for consistency see the table as it was.
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

// TestFaults: each action does what it says, to the calls it selects.
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

// TestLate: a call takes effect a while after its client has given up on it.
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

// TestFreeze: a frozen client's requests take effect when it thaws, although it
// has given up on them.
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
