package dynamotest

import (
	"strings"
)

// condition is a parsed condition expression.
type condition func(Item) bool

// expressions are the expression parameters of a request.
type expressions struct {
	ConditionExpression       *string
	UpdateExpression          *string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues Item
}

// given names the expressions that a request has, in the service's order.
func (e expressions) given() []string {
	var names []string
	if e.UpdateExpression != nil {
		names = append(names, "UpdateExpression")
	}
	if e.ConditionExpression != nil {
		names = append(names, "ConditionExpression")
	}
	return names
}

// parse returns a condition, which is never nil without an error, and the changes.
func (e expressions) parse() (condition, []change, *apiError) {
	if len(e.given()) == 0 {
		switch {
		case len(e.ExpressionAttributeNames) > 0:
			return nil, nil, validation("ExpressionAttributeNames can only be specified when using expressions")
		case len(e.ExpressionAttributeValues) > 0:
			return nil, nil, validation("ExpressionAttributeValues can only be specified when using expressions")
		}
	}
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
