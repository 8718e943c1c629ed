package awstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// legacy draws a write with the parameters that are older than expressions. Some have mistakes. An
// action is never left out: DynamoDB Local then does nothing, and the service documents PUT.
func (d differ) legacy(tb testing.TB, once func(*dynamodb.Options)) (what string, send func(*dynamodb.Client) string) {
	key := map[string]types.AttributeValue{"leaseKey": str(fmt.Sprintf("k%d", d.rand.IntN(5)))}
	expected, texts := d.expected()
	var operator types.ConditionalOperator
	if len(expected) > 1 || d.rand.IntN(8) == 0 {
		operator = []types.ConditionalOperator{"", "AND", "OR", "OR"}[d.rand.IntN(4)]
	}
	onFailure := types.ReturnValuesOnConditionCheckFailureNone
	if d.rand.IntN(2) == 0 {
		onFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	}
	what = fmt.Sprintf("%s if %s %v", show(key), operator, texts)
	switch d.rand.IntN(6) {
	case 0:
		for range d.rand.IntN(4) {
			key[d.attribute()] = d.value()
		}
		in := &dynamodb.PutItemInput{
			TableName: d.table, Item: key, Expected: expected, ConditionalOperator: operator,
			ReturnValues: types.ReturnValueAllOld, ReturnValuesOnConditionCheckFailure: onFailure,
		}
		return "PutItem " + show(key) + what, sendPutItem(tb, in, once)
	case 1:
		in := &dynamodb.DeleteItemInput{
			TableName: d.table, Key: key, Expected: expected, ConditionalOperator: operator,
			ReturnValues: types.ReturnValueAllOld, ReturnValuesOnConditionCheckFailure: onFailure,
		}
		return "DeleteItem " + what, sendDeleteItem(tb, in, once)
	}
	updates, changes := d.updates(len(expected) == 0)
	in := &dynamodb.UpdateItemInput{
		TableName: d.table, Key: key, Expected: expected, ConditionalOperator: operator, AttributeUpdates: updates,
		ReturnValues: types.ReturnValueAllNew, ReturnValuesOnConditionCheckFailure: onFailure,
	}
	return fmt.Sprintf("UpdateItem %v %s", changes, what), sendUpdateItem(tb, in, once)
}

// expected draws conditions on up to three attributes, and describes them.
func (d differ) expected() (expected map[string]types.ExpectedAttributeValue, texts []string) {
	expected = map[string]types.ExpectedAttributeValue{}
	for range d.rand.IntN(4) {
		name := append(slices.Clone(d.attributes), "leaseKey")[d.rand.IntN(len(d.attributes)+1)]
		var e types.ExpectedAttributeValue
		if d.rand.IntN(3) > 0 {
			e.ComparisonOperator = types.ComparisonOperator("").Values()[d.rand.IntN(13)]
			for range d.arguments(e.ComparisonOperator) {
				e.AttributeValueList = append(e.AttributeValueList, d.value())
			}
		} else if e.Exists = aws.Bool(d.rand.IntN(2) == 0); *e.Exists {
			e.Value = d.value()
		}
		if d.rand.IntN(20) == 0 { // a mistake, or one attribute the more
			e.Value = d.value()
		}
		expected[name] = e
	}
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		e := expected[name]
		list := []string{}
		for _, v := range append(slices.Clone(e.AttributeValueList), e.Value) {
			list = append(list, show(map[string]types.AttributeValue{"": v}))
		}
		texts = append(texts, fmt.Sprint(name, " ", e.ComparisonOperator, list, aws.ToBool(e.Exists)))
	}
	return expected, texts
}

// arguments draws a number of arguments for an operator. It is wrong now and then.
func (d differ) arguments(o types.ComparisonOperator) int {
	switch {
	case d.rand.IntN(20) == 0:
		return d.rand.IntN(4)
	case o == types.ComparisonOperatorNull || o == types.ComparisonOperatorNotNull:
		return 0
	case o == types.ComparisonOperatorBetween:
		return 2
	case o == types.ComparisonOperatorIn:
		return d.rand.IntN(3) + 1
	}
	return 1
}

// updates draws changes of up to three attributes, and describes them. Some have mistakes, if they
// may. DynamoDB Local finds those mistakes behind the condition, and the service before it.
func (d differ) updates(mistakes bool) (updates map[string]types.AttributeValueUpdate, text string) {
	updates = map[string]types.AttributeValueUpdate{}
	for range d.rand.IntN(4) {
		u := types.AttributeValueUpdate{Action: types.AttributeAction("").Values()[d.rand.IntN(3)], Value: d.value()}
		_, isNumber := u.Value.(*types.AttributeValueMemberN)
		_, isSet := u.Value.(*types.AttributeValueMemberSS)
		switch {
		case mistakes && d.rand.IntN(4) == 0:
			u.Value = nil
		case mistakes:
		case u.Action == types.AttributeActionDelete && !isSet:
			u.Value = nil
		case u.Action == types.AttributeActionAdd && !isSet && !isNumber:
			u.Action = types.AttributeActionPut
		}
		updates[d.attribute()] = u
	}
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(updates)) {
		u := updates[name]
		texts = append(texts, fmt.Sprint(name, " ", u.Action, show(map[string]types.AttributeValue{"": u.Value})))
	}
	return updates, strings.Join(texts, ", ")
}
