package awstest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

const byOwner = "ByOwner"

// addIndex makes an index by owner, and waits until it can be used.
func addIndex(tb testing.TB, table string, c *dynamodb.Client) {
	tb.Helper()
	_, err := c.UpdateTable(tb.Context(), &dynamodb.UpdateTableInput{
		TableName: &table,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("owner"), AttributeType: types.ScalarAttributeTypeS},
		},
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
			IndexName: aws.String(byOwner), Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String("owner"), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeRange},
			},
		}}},
	})
	require.NoError(tb, err)
	require.Eventually(tb, func() bool {
		out, err := c.DescribeTable(tb.Context(), &dynamodb.DescribeTableInput{TableName: &table})
		return err == nil && len(out.Table.GlobalSecondaryIndexes) == 1 &&
			out.Table.GlobalSecondaryIndexes[0].IndexStatus == types.IndexStatusActive
	}, time.Minute, 20*time.Millisecond)
}

func (d differ) limit() *int32 { return aws.Int32(d.rand.Int32N(3) + 1) }

// query draws a query of the index, page by page.
func (d differ) query(tb testing.TB, once func(*dynamodb.Options)) (what string, send func(*dynamodb.Client) string) {
	owner := []string{"w1", "w2", "1", ""}[d.rand.IntN(4)]
	limit := d.limit()
	return "Query " + owner, func(c *dynamodb.Client) string {
		in := &dynamodb.QueryInput{
			TableName:              d.table,
			IndexName:              aws.String(byOwner),
			Limit:                  limit,
			KeyConditionExpression: aws.String("#o = :o"),
			ExpressionAttributeNames: map[string]string{
				"#o": "owner",
			},
			ExpressionAttributeValues: map[string]types.AttributeValue{":o": str(owner)},
		}
		var rows []string
		for {
			out, err := c.Query(tb.Context(), in, once)
			if err != nil {
				return outcome(err)
			}
			for _, it := range out.Items {
				rows = append(rows, show(it))
			}
			if out.LastEvaluatedKey == nil {
				return strings.Join(rows, "\n")
			}
			in.ExclusiveStartKey = out.LastEvaluatedKey
		}
	}
}

// transaction draws a transaction of up to four operations. DynamoDB Local and the service answer
// differently about two operations on one item, and about values that the index cannot hold.
// Neither is drawn.
func (d differ) transaction(
	tb testing.TB,
	once func(*dynamodb.Options),
) (what string, send func(*dynamodb.Client) string) {
	in := &dynamodb.TransactWriteItemsInput{}
	d.attributes = d.attributes[:3]
	keys := d.rand.Perm(8)
	for i := range d.rand.IntN(4) + 1 {
		kind := []string{"ConditionCheck", "Put", "Delete", "Update"}[d.rand.IntN(4)]
		key := map[string]types.AttributeValue{"leaseKey": str(fmt.Sprintf("k%d", keys[i]))}
		e := &drawn{names: map[string]string{}, values: map[string]types.AttributeValue{}}
		condition := aws.String(d.condition(e, 1))
		onFailure := types.ReturnValuesOnConditionCheckFailureNone
		if d.rand.IntN(2) == 0 {
			onFailure = types.ReturnValuesOnConditionCheckFailureAllOld
		}
		var it types.TransactWriteItem
		if kind == "Put" {
			key[d.attribute()] = d.value()
		}
		what += "\n" + kind + show(key)
		switch kind {
		case "ConditionCheck":
			it.ConditionCheck = &types.ConditionCheck{
				TableName:                           d.table,
				Key:                                 key,
				ConditionExpression:                 condition,
				ExpressionAttributeNames:            e.namesOrNil(),
				ExpressionAttributeValues:           e.valuesOrNil(),
				ReturnValuesOnConditionCheckFailure: onFailure,
			}
		case "Put":
			it.Put = &types.Put{
				TableName:                           d.table,
				Item:                                key,
				ConditionExpression:                 condition,
				ExpressionAttributeNames:            e.namesOrNil(),
				ExpressionAttributeValues:           e.valuesOrNil(),
				ReturnValuesOnConditionCheckFailure: onFailure,
			}
		case "Delete":
			it.Delete = &types.Delete{
				TableName:                           d.table,
				Key:                                 key,
				ConditionExpression:                 condition,
				ExpressionAttributeNames:            e.namesOrNil(),
				ExpressionAttributeValues:           e.valuesOrNil(),
				ReturnValuesOnConditionCheckFailure: onFailure,
			}
		default:
			update := d.update(e)
			what += " " + update
			it.Update = &types.Update{
				TableName:                           d.table,
				Key:                                 key,
				UpdateExpression:                    &update,
				ConditionExpression:                 condition,
				ExpressionAttributeNames:            e.namesOrNil(),
				ExpressionAttributeValues:           e.valuesOrNil(),
				ReturnValuesOnConditionCheckFailure: onFailure,
			}
		}
		what += " if " + *condition + show(e.values)
		in.TransactItems = append(in.TransactItems, it)
	}
	return "TransactWriteItems" + what, func(c *dynamodb.Client) string {
		_, err := c.TransactWriteItems(tb.Context(), in, once)
		if cancelled, ok := errors.AsType[*types.TransactionCanceledException](err); ok {
			var reasons []string
			for _, r := range cancelled.CancellationReasons {
				reasons = append(reasons, aws.ToString(r.Code)+show(r.Item))
			}
			return strings.Join(reasons, "\n")
		}
		if err != nil {
			return outcome(err)
		}
		return "done"
	}
}
