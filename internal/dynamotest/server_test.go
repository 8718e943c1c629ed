package dynamotest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
)

// TestRequestTooLarge: a request that cannot be read to its end does not succeed.
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

// TestRequestIsCut: a client that goes away in the middle of its request has made no call. No fault
// applies to the call, and it is not counted.
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

// TestValues: values of every type come back. Numbers come back in the form of the service.
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

// TestRefusals: requests that the service refuses, and parameters that this fake does not know, are
// errors.
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

// TestTables takes a table through its life.
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
