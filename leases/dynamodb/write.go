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

// equals is the condition that the attributes have their values in it.
func (e *expression) equals(it item, attributes ...string) string {
	terms := make([]string, len(attributes))
	for i, a := range attributes {
		terms[i] = e.name(a) + " = " + e.value("is_", a, it[a])
	}
	return strings.Join(terms, " AND ")
}

// exists is the condition that the attribute is there; of a key, that the item is.
func (e *expression) exists(name string) string { return "attribute_exists(" + e.name(name) + ")" }

// absent is the condition that the attribute is not there; of a key, that no item is.
func (e *expression) absent(name string) string { return "attribute_not_exists(" + e.name(name) + ")" }

// change sets the attributes of it that are not its key, and removes others.
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

func (e *expression) valuesOrNil() item {
	if len(e.values) == 0 {
		return nil
	}
	return e.values
}

// put writes a whole item if the condition holds.
func (t *table) put(ctx context.Context, it item, e *expression, condition string) error {
	_, err := call(ctx, t, "dynamodb:PutItem", t.client.PutItem, &sdk.PutItemInput{
		TableName: &t.name, Item: it, ConditionExpression: &condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.valuesOrNil(),
	}, once)
	return t.differs(it, err)
}

// update sets the attributes of it, and removes others, if the condition holds. An empty
// condition always holds.
func (t *table) update(ctx context.Context, it item, e *expression, condition string, remove ...string) error {
	change := e.change(t, it, remove...)
	in := &sdk.UpdateItemInput{
		TableName: &t.name, Key: item{t.key: it[t.key]}, UpdateExpression: &change,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.valuesOrNil(),
	}
	if condition != "" {
		in.ConditionExpression = &condition
	}
	_, err := call(ctx, t, "dynamodb:UpdateItem", t.client.UpdateItem, in, once)
	return t.differs(it, err)
}

// remove deletes an item if the condition holds.
func (t *table) remove(ctx context.Context, id string, e *expression, condition string) error {
	_, err := call(ctx, t, "dynamodb:DeleteItem", t.client.DeleteItem, &sdk.DeleteItemInput{
		TableName: &t.name, Key: t.id(id), ConditionExpression: &condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.valuesOrNil(),
	}, once)
	return t.differs(t.id(id), err)
}

// differs turns a failed condition into a [*leases.ConflictError].
func (t *table) differs(it item, err error) error {
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return &leases.ConflictError{Key: textOf(it, t.key)}
	}
	return err
}

// textOf returns a string attribute, or nothing.
func textOf(it item, name string) string {
	if v, ok := it[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}
