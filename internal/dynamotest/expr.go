package dynamotest

import (
	"strings"
)

// condition is a parsed condition expression.
type condition func(Item) bool

// change is one clause of a parsed update expression.
type change struct {
	attribute string
	remove    bool
	value     Value
}

// expressions are the expression parameters of a request.
type expressions struct {
	ConditionExpression       *string
	UpdateExpression          *string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues Item
}

// parse returns a condition, which is never nil, and the changes.
func (e expressions) parse() (condition, []change, *apiError) {
	used := map[string]bool{}
	cond := condition(func(Item) bool { return true })
	var changes []change
	parse := func(kind string, expression *string) (*parser, *apiError) {
		if strings.TrimSpace(*expression) == "" {
			return nil, validationf("Invalid %s: The expression can not be empty;", kind)
		}
		t, err := tokens(kind, *expression)
		return &parser{
			kind:   kind,
			tokens: t,
			names:  e.ExpressionAttributeNames,
			values: e.ExpressionAttributeValues,
			used:   used,
		}, err
	}
	if e.UpdateExpression != nil {
		p, err := parse("UpdateExpression", e.UpdateExpression)
		if err == nil {
			changes, err = p.update()
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if e.ConditionExpression != nil {
		p, err := parse("ConditionExpression", e.ConditionExpression)
		if err == nil {
			cond, err = p.condition()
		}
		if err != nil {
			return nil, nil, err
		}
	}
	for name := range e.ExpressionAttributeNames {
		if !used[name] {
			return nil, nil, validationf("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}", name)
		}
	}
	for name := range e.ExpressionAttributeValues {
		if !used[name] {
			return nil, nil, validationf("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}", name)
		}
	}
	return cond, changes, nil
}
