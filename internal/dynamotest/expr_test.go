package dynamotest_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
)

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

// pick makes placeholders for the names in an expression, and takes the values that it uses.
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
