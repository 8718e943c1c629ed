package dynamotest

import (
	"maps"
	"slices"
	"strings"
)

// legacy holds the parameters of writes that are older than expressions. The Java KCL writes its
// leases with them.
type legacy struct {
	Expected            map[string]expectation
	ConditionalOperator string
	AttributeUpdates    map[string]attributeUpdate
}

// expectation is a condition on one attribute: a value, its existence, or a comparison.
type expectation struct {
	Value              *Value
	Exists             *bool
	ComparisonOperator string
	AttributeValueList []Value
}

// attributeUpdate is a change of one attribute.
type attributeUpdate struct {
	Action string
	Value  *Value
}

// given names the parameters that a request has, in the service's order.
func (l legacy) given() []string {
	var names []string
	if len(l.AttributeUpdates) > 0 {
		names = append(names, "AttributeUpdates")
	}
	if len(l.Expected) > 0 {
		names = append(names, "Expected")
	}
	if l.ConditionalOperator != "" {
		names = append(names, "ConditionalOperator")
	}
	return names
}

// condition joins the conditions of all attributes. It is never nil without an error.
func (l legacy) condition() (condition, *apiError) {
	operator := l.ConditionalOperator
	if operator != "" && operator != "AND" && operator != "OR" {
		return nil, noMember(operator, "conditionalOperator", "OR, AND")
	}
	var all []condition
	for _, name := range slices.Sorted(maps.Keys(l.Expected)) {
		c, err := l.Expected[name].condition(name)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	switch {
	case operator != "" && len(all) == 0:
		return nil, validation("ConditionalOperator cannot be used without Filter or Expected")
	case operator != "" && len(all) == 1:
		return nil, validation("ConditionalOperator can only be used when Filter or Expected has two or more elements")
	}
	or := operator == "OR"
	return func(i Item) bool {
		for _, c := range all {
			if c(i) == or {
				return or
			}
		}
		return !or
	}, nil
}

func (e expectation) condition(name string) (condition, *apiError) {
	wrong := func(text string) *apiError {
		return validation("One or more parameter values were invalid: " + text + " for Attribute: " + name)
	}
	switch {
	case name == "":
		return nil, validation("Empty attribute name")
	case e.Value != nil && e.AttributeValueList != nil:
		return nil, wrong("Value and AttributeValueList cannot be used together")
	case e.ComparisonOperator != "" && e.Exists != nil:
		return nil, wrong("Exists and ComparisonOperator cannot be used together")
	case e.ComparisonOperator != "":
		return e.comparison(name, wrong)
	case e.AttributeValueList != nil:
		return nil, wrong("AttributeValueList can only be used with a ComparisonOperator")
	case e.Exists != nil && !*e.Exists && e.Value != nil:
		return nil, wrong("Value cannot be used when Exists is false")
	case e.Exists != nil && !*e.Exists:
		return func(i Item) bool { _, ok := i[name]; return !ok }, nil
	case e.Value == nil && e.Exists == nil:
		return nil, wrong("Value must be provided when Exists is null")
	case e.Value == nil:
		return nil, wrong("Value must be provided when Exists is true")
	}
	return func(i Item) bool { v, ok := i[name]; return ok && v.same(*e.Value) }, nil
}

func (e expectation) comparison(name string, wrong func(text string) *apiError) (condition, *apiError) {
	comparison, ok := comparisons[e.ComparisonOperator]
	arguments := e.AttributeValueList
	if e.Value != nil {
		arguments = []Value{*e.Value}
	}
	switch {
	case !ok:
		return nil, noMember(e.ComparisonOperator, "expected."+name+".member.comparisonOperator",
			"IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS")
	case arguments == nil && comparison.least > 0:
		return nil, wrong("Value or AttributeValueList must be used with ComparisonOperator: " + e.ComparisonOperator)
	}
	if err := comparison.check(e.ComparisonOperator, arguments); err != nil {
		return nil, err
	}
	return func(i Item) bool { v, ok := i[name]; return comparison.holds(v, ok, arguments) }, nil
}

// noMember is the error about a value that its parameter does not know.
func noMember(value, parameter, members string) *apiError {
	return validationf("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must "+
		"satisfy enum value set: [%s]", value, parameter, members)
}

// changes returns the changes, in the order of the attributes' names.
func (l legacy) changes() ([]change, *apiError) {
	var changes []change
	for _, name := range slices.Sorted(maps.Keys(l.AttributeUpdates)) {
		c, err := l.AttributeUpdates[name].change(name)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// typeNames are the names of types in the errors about actions.
var typeNames = map[string]string{
	"S": "STRING", "N": "NUMBER", "B": "BINARY", "BOOL": "BOOLEAN", "NULL": "NULL", "L": "LIST", "M": "MAP",
}

// change reads an update. Without an action it is PUT.
func (u attributeUpdate) change(name string) (change, *apiError) {
	const invalid = "One or more parameter values were invalid: "
	c := change{attribute: name}
	switch u.Action {
	case "", "PUT":
		c.action = setValue
	case "ADD":
		c.action = addValue
	case "DELETE":
		c.action = removeAttribute
	default:
		return c, noMember(u.Action, "attributeUpdates."+name+".member.action", "ADD, PUT, DELETE")
	}
	switch {
	case name == "":
		return c, validation("Empty attribute name")
	case u.Value == nil && c.action == removeAttribute:
		return c, nil
	case u.Value == nil:
		return c, validation(invalid + "Only DELETE action is allowed when no attribute value is specified")
	}
	c.value = *u.Value
	set := strings.HasSuffix(c.value.Type, "S") && c.value.Type != "S"
	switch {
	case c.action == removeAttribute && !set:
		return c, validation(invalid + "DELETE action with value is not supported for the type " + typeNames[c.value.Type])
	case c.action == removeAttribute:
		c.action = removeMembers
	case c.action == addValue && !set && c.value.Type != "N" && c.value.Type != "L":
		return c, validation(invalid + "ADD action is not supported for the type " + typeNames[c.value.Type])
	}
	return c, nil
}
