package dynamodb

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/leases"
)

// equals is the condition that the attributes have the values that they have in the item it.
func (e *expression) equals(it item, attributes ...string) string {
	terms := make([]string, len(attributes))
	for i, a := range attributes {
		terms[i] = e.name(a) + " = " + e.value("is_", a, it[a])
	}
	return strings.Join(terms, " AND ")
}

// exists is the condition that an attribute exists. For the hash key, it is the condition that the
// item exists.
func (e *expression) exists(name string) string { return "attribute_exists(" + e.name(name) + ")" }

// absent is the opposite of exists.
func (e *expression) absent(name string) string { return "attribute_not_exists(" + e.name(name) + ")" }

// change is an update expression. It sets the attributes of the item it, except for the hash key,
// and removes the attributes remove.
func (e *expression) change(t *table, it item, remove ...string) string {
	var sets, removes []string
	for _, name := range slices.Sorted(maps.Keys(it)) {
		if name != t.key {
			sets = append(sets, e.name(name)+" = "+e.value("to_", name, it[name]))
		}
	}
	for _, name := range remove {
		removes = append(removes, e.name(name))
	}
	return clauses(sets, removes)
}

// valuesOrNil returns the values, or nil without values: the service refuses an empty map.
func (e *expression) valuesOrNil() item {
	if len(e.values) == 0 {
		return nil
	}
	return e.values
}

// put writes a whole item if the condition holds.
func (t *table) put(ctx context.Context, it item, e *expression, condition string) error {
	_, err := callTable(ctx, t, "dynamodb:PutItem", t.client.PutItem, &sdk.PutItemInput{
		TableName: &t.name, Item: it, ConditionExpression: &condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.valuesOrNil(),
	}, noRetries)
	return t.conflict(it, err)
}

// update sets the attributes of the item it, and removes the attributes remove, if the condition
// holds. An empty condition always holds.
func (t *table) update(ctx context.Context, it item, e *expression, condition string, remove ...string) error {
	change := e.change(t, it, remove...)
	in := &sdk.UpdateItemInput{
		TableName: &t.name, Key: item{t.key: it[t.key]}, UpdateExpression: &change,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.valuesOrNil(),
	}
	if condition != "" {
		in.ConditionExpression = &condition
	}
	_, err := callTable(ctx, t, "dynamodb:UpdateItem", t.client.UpdateItem, in, noRetries)
	return t.conflict(it, err)
}

// remove deletes an item if the condition holds.
func (t *table) remove(ctx context.Context, id string, e *expression, condition string) error {
	_, err := callTable(ctx, t, "dynamodb:DeleteItem", t.client.DeleteItem, &sdk.DeleteItemInput{
		TableName: &t.name, Key: t.id(id), ConditionExpression: &condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.valuesOrNil(),
	}, noRetries)
	return t.conflict(t.id(id), err)
}

// conflict turns a failed condition into a [*leases.ConflictError].
func (t *table) conflict(it item, err error) error {
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return &leases.ConflictError{Key: textOf(it, t.key)}
	}
	return err
}

// textOf returns the value of a string attribute. It is empty for other types.
func textOf(it item, name string) string {
	if v, ok := it[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}
