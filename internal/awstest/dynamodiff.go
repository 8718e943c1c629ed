package awstest

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
)

// DiffDynamoDB sends the same random requests, drawn from seed, to internal/dynamotest and to
// another DynamoDB. It fails at the first answer that differs. It makes the table, with an index by
// owner, and leaves it there.
func DiffDynamoDB(tb testing.TB, seed uint64, steps int, table string, fake, real *dynamodb.Client) {
	tb.Helper()
	tb.Logf("seed %d", seed)
	d := differ{rand: rand.New(rand.NewPCG(seed, 0)), table: &table, attributes: []string{"a", "b", "c", "owner"}}
	servers := []*dynamodb.Client{fake, real}
	for _, c := range servers {
		_, err := c.CreateTable(tb.Context(), &dynamodb.CreateTableInput{
			TableName:   &table,
			BillingMode: types.BillingModePayPerRequest,
			KeySchema:   []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}},
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS},
			},
		})
		require.NoError(tb, err)
		require.NoError(tb,
			dynamodb.NewTableExistsWaiter(c).Wait(tb.Context(), &dynamodb.DescribeTableInput{TableName: &table}, 60e9))
		addIndex(tb, table, c)
	}
	once := func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }
	for step := range steps {
		what, send := d.request(tb, once)
		require.Equal(tb, send(real), send(fake), "step %d of seed %d (expected: the real one): %s", step, seed, what)
	}
}

type differ struct {
	rand       *rand.Rand
	table      *string
	attributes []string // besides the key
}

// request draws a request. what describes the request, and send returns its outcome as text.
func (d differ) request(tb testing.TB, once func(*dynamodb.Options)) (what string, send func(*dynamodb.Client) string) {
	key := map[string]types.AttributeValue{"leaseKey": str(fmt.Sprintf("k%d", d.rand.IntN(5)))}
	e := &drawn{names: map[string]string{}, values: map[string]types.AttributeValue{}}
	var condition, update *string
	if d.rand.IntN(4) > 0 {
		condition = aws.String(d.condition(e, 3))
	}
	var returns types.ReturnValue
	if d.rand.IntN(3) == 0 {
		returns = types.ReturnValueAllOld
	}
	onFailure := types.ReturnValuesOnConditionCheckFailureNone
	if d.rand.IntN(3) > 0 {
		onFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	}
	switch d.rand.IntN(14) {
	case 0:
		it := maps.Clone(key)
		for range d.rand.IntN(4) {
			it[d.attribute()] = d.value()
		}
		in := &dynamodb.PutItemInput{
			TableName: d.table, Item: it, ConditionExpression: condition,
			ExpressionAttributeNames: e.namesOrNil(), ExpressionAttributeValues: e.valuesOrNil(),
			ReturnValues: returns, ReturnValuesOnConditionCheckFailure: onFailure,
		}
		return "PutItem " + aws.ToString(condition) + " " + show(it), sendPutItem(tb, in, once)
	case 1:
		in := &dynamodb.DeleteItemInput{
			TableName: d.table, Key: key, ConditionExpression: condition,
			ExpressionAttributeNames: e.namesOrNil(), ExpressionAttributeValues: e.valuesOrNil(),
			ReturnValues: returns, ReturnValuesOnConditionCheckFailure: onFailure,
		}
		return "DeleteItem " + show(key) + aws.ToString(condition), sendDeleteItem(tb, in, once)
	case 2:
		in := &dynamodb.GetItemInput{TableName: d.table, Key: key, ConsistentRead: aws.Bool(true)}
		return "GetItem " + show(key), func(c *dynamodb.Client) string {
			out, err := c.GetItem(tb.Context(), in, once)
			if err != nil {
				return outcome(err)
			}
			return show(out.Item)
		}
	case 3:
		return d.scan(tb, once)
	case 4:
		return d.query(tb, once)
	case 5:
		return d.transaction(tb, once)
	case 6, 7, 8, 9:
		return d.legacy(tb, once)
	}
	if d.rand.IntN(8) > 0 { // the remaining cases: UpdateItem
		update = aws.String(d.update(e))
	}
	if returns == "" && d.rand.IntN(2) == 0 {
		returns = types.ReturnValueAllNew
	}
	in := &dynamodb.UpdateItemInput{
		TableName: d.table, Key: key, UpdateExpression: update, ConditionExpression: condition,
		ExpressionAttributeNames: e.namesOrNil(), ExpressionAttributeValues: e.valuesOrNil(),
		ReturnValues: returns, ReturnValuesOnConditionCheckFailure: onFailure,
	}
	what = "UpdateItem " + show(key) + aws.ToString(update) + " if " + aws.ToString(condition) + show(e.values)
	return what, sendUpdateItem(tb, in, once)
}

// sendPutItem sends in, and returns the outcome as text.
func sendPutItem(tb testing.TB, in *dynamodb.PutItemInput, once func(*dynamodb.Options)) func(*dynamodb.Client) string {
	return func(c *dynamodb.Client) string {
		out, err := c.PutItem(tb.Context(), in, once)
		if err != nil {
			return outcome(err)
		}
		return show(out.Attributes)
	}
}

// sendDeleteItem sends in, and returns the outcome as text.
func sendDeleteItem(
	tb testing.TB, in *dynamodb.DeleteItemInput, once func(*dynamodb.Options),
) func(*dynamodb.Client) string {
	return func(c *dynamodb.Client) string {
		out, err := c.DeleteItem(tb.Context(), in, once)
		if err != nil {
			return outcome(err)
		}
		return show(out.Attributes)
	}
}

// sendUpdateItem sends in, and returns the outcome as text.
func sendUpdateItem(
	tb testing.TB, in *dynamodb.UpdateItemInput, once func(*dynamodb.Options),
) func(*dynamodb.Client) string {
	return func(c *dynamodb.Client) string {
		out, err := c.UpdateItem(tb.Context(), in, once)
		if err != nil {
			return outcome(err)
		}
		return show(out.Attributes)
	}
}

// scan draws a consistent scan, page by page.
func (d differ) scan(tb testing.TB, once func(*dynamodb.Options)) (what string, send func(*dynamodb.Client) string) {
	limit := d.limit()
	return "Scan", func(c *dynamodb.Client) string {
		in := &dynamodb.ScanInput{TableName: d.table, ConsistentRead: aws.Bool(true), Limit: limit}
		var rows []string
		for {
			out, err := c.Scan(tb.Context(), in, once)
			if err != nil {
				return outcome(err)
			}
			for _, it := range out.Items {
				rows = append(rows, show(it))
			}
			if out.LastEvaluatedKey == nil {
				slices.Sort(rows)
				return strings.Join(rows, "\n")
			}
			in.ExclusiveStartKey = out.LastEvaluatedKey
		}
	}
}

// drawn holds the placeholders of one request.
type drawn struct {
	names  map[string]string
	values map[string]types.AttributeValue
}

func (e *drawn) name(attribute string) string {
	e.names["#"+attribute] = attribute
	return "#" + attribute
}

func (e *drawn) value(v types.AttributeValue) string {
	p := fmt.Sprintf(":v%d", len(e.values))
	e.values[p] = v
	return p
}

func (e *drawn) namesOrNil() map[string]string {
	if len(e.names) == 0 {
		return nil
	}
	return e.names
}

func (e *drawn) valuesOrNil() map[string]types.AttributeValue {
	if len(e.values) == 0 {
		return nil
	}
	return e.values
}

func (d differ) attribute() string { return d.attributes[d.rand.IntN(len(d.attributes))] }

func (d differ) value() types.AttributeValue {
	switch d.rand.IntN(6) {
	case 0:
		return &types.AttributeValueMemberN{Value: []string{"1", "1.0", "2.19E-4", "100", "1E2", "0.000219"}[d.rand.IntN(6)]}
	case 1:
		return &types.AttributeValueMemberSS{Value: [][]string{{"x"}, {"x", "y"}, {"y", "x"}}[d.rand.IntN(3)]}
	case 2:
		return &types.AttributeValueMemberB{Value: []byte{byte(d.rand.IntN(2))}}
	case 3:
		return str("")
	}
	return str([]string{"w1", "w2", "1"}[d.rand.IntN(3)])
}

func (d differ) condition(e *drawn, depth int) string {
	if depth > 0 {
		switch d.rand.IntN(6) {
		case 0, 1:
			return d.condition(e, depth-1) + " AND " + d.condition(e, depth-1)
		case 2:
			return d.condition(e, depth-1) + " OR " + d.condition(e, depth-1)
		case 3:
			return "NOT " + d.condition(e, 0)
		case 4:
			return "(" + d.condition(e, depth-2) + " OR " + d.condition(e, depth-2) + ")"
		}
	}
	switch d.rand.IntN(5) {
	case 0:
		return "attribute_exists(" + e.name("leaseKey") + ")"
	case 1:
		return "attribute_exists(" + e.name(d.attribute()) + ")"
	case 2:
		return "attribute_not_exists(" + e.name(d.attribute()) + ")"
	}
	return e.name(d.attribute()) + " = " + e.value(d.value())
}

func (d differ) update(e *drawn) string {
	var sets, removes []string
	for range d.rand.IntN(3) + 1 { // may name an attribute twice: DynamoDB refuses that
		if d.rand.IntN(3) == 0 {
			removes = append(removes, e.name(d.attribute()))
		} else {
			sets = append(sets, e.name(d.attribute())+" = "+e.value(d.value()))
		}
	}
	var clauses []string
	if len(sets) > 0 {
		clauses = append(clauses, "SET "+strings.Join(sets, ", "))
	}
	if len(removes) > 0 {
		clauses = append(clauses, "REMOVE "+strings.Join(removes, ", "))
	}
	return strings.Join(clauses, " ")
}

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// outcome is the code of an error and the item that came with it, without the message.
func outcome(err error) string {
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return "ConditionalCheckFailedException " + show(failed.Item)
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return err.Error()
}

// show returns the text of an item. Equal items have equal texts.
func show(it map[string]types.AttributeValue) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(it)) {
		fmt.Fprintf(&b, " %s:", name)
		switch v := it[name].(type) {
		case *types.AttributeValueMemberS:
			fmt.Fprintf(&b, "%q", v.Value)
		case *types.AttributeValueMemberN:
			n, _ := new(big.Rat).SetString(v.Value)
			fmt.Fprintf(&b, "%v", n)
		case *types.AttributeValueMemberB:
			fmt.Fprintf(&b, "%x", v.Value)
		case *types.AttributeValueMemberSS:
			fmt.Fprintf(&b, "%q", slices.Sorted(slices.Values(v.Value)))
		default:
			fmt.Fprintf(&b, "%T", v)
		}
	}
	return b.String()
}
