package dynamotest

import (
	"math/big"
	"slices"
	"strings"
)

// comparison is the meaning of a ComparisonOperator.
type comparison struct {
	least, most int    // the number of arguments
	types       string // of arguments, with blanks between them; empty means all
	holds       func(v Value, exists bool, arguments []Value) bool
}

const ordered = "S N B" // the types with an order

var comparisons = map[string]comparison{
	"EQ":       {1, 1, "", equal},
	"NE":       {1, 1, "", func(v Value, exists bool, a []Value) bool { return !equal(v, exists, a) }},
	"LT":       {1, 1, ordered, inOrder(func(c int) bool { return c < 0 })},
	"LE":       {1, 1, ordered, inOrder(func(c int) bool { return c <= 0 })},
	"GT":       {1, 1, ordered, inOrder(func(c int) bool { return c > 0 })},
	"GE":       {1, 1, ordered, inOrder(func(c int) bool { return c >= 0 })},
	"NULL":     {0, 0, "", func(_ Value, exists bool, _ []Value) bool { return !exists }},
	"NOT_NULL": {0, 0, "", func(_ Value, exists bool, _ []Value) bool { return exists }},
	"IN":       {1, 100, ordered, func(v Value, exists bool, a []Value) bool { return exists && isAmong(v, a) }},
	"BETWEEN": {2, 2, ordered, func(v Value, exists bool, a []Value) bool {
		return exists && v.Type == a[0].Type && v.compare(a[0]) >= 0 && v.compare(a[1]) <= 0
	}},
	"BEGINS_WITH": {1, 1, "S B", func(v Value, exists bool, a []Value) bool {
		return exists && v.Type == a[0].Type && strings.HasPrefix(v.Text, a[0].Text)
	}},
	"CONTAINS": {1, 1, "S N B BOOL NULL", func(v Value, exists bool, a []Value) bool {
		return exists && v.contains(a[0])
	}},
	"NOT_CONTAINS": {1, 1, "S N B BOOL NULL", func(v Value, exists bool, a []Value) bool {
		return exists && !v.contains(a[0])
	}},
}

// check looks at the number and the types of the arguments.
func (c comparison) check(name string, arguments []Value) *apiError {
	const invalid = "One or more parameter values were invalid: "
	if len(arguments) < c.least || len(arguments) > c.most {
		return validation(invalid + "Invalid number of argument(s) for the " + name + " ComparisonOperator")
	}
	for _, a := range arguments {
		switch {
		case a.Type != arguments[0].Type:
			return validation(invalid + "AttributeValues inside AttributeValueList must be of same type")
		case c.types != "" && !slices.Contains(strings.Fields(c.types), a.Type):
			return validation(invalid + "ComparisonOperator " + name + " is not valid for " + a.Type + " AttributeValue type")
		}
	}
	if name == "BETWEEN" && arguments[0].compare(arguments[1]) > 0 {
		return validation("The BETWEEN condition was provided a range where the lower bound is greater than the upper bound")
	}
	return nil
}

func equal(v Value, exists bool, arguments []Value) bool { return exists && v.same(arguments[0]) }

func inOrder(holds func(order int) bool) func(v Value, exists bool, arguments []Value) bool {
	return func(v Value, exists bool, arguments []Value) bool {
		return exists && v.Type == arguments[0].Type && holds(v.compare(arguments[0]))
	}
}

func isAmong(v Value, list []Value) bool { return slices.ContainsFunc(list, v.same) }

// contains tells whether a text or bytes hold others, or whether a set or list has a member.
func (v Value) contains(w Value) bool {
	switch v.Type {
	case "S", "B":
		return v.Type == w.Type && strings.Contains(v.Text, w.Text)
	case "SS", "NS", "BS":
		return v.Type == w.Type+"S" && slices.Contains(v.Set, w.Text)
	}
	return isAmong(w, v.List)
}

// compare orders two values of one type that has an order: S, N or B.
func (v Value) compare(w Value) int {
	if v.Type == "N" {
		return rational(v.Text).Cmp(rational(w.Text))
	}
	return strings.Compare(v.Text, w.Text)
}

// rational reads a number in the service's form.
func rational(number string) *big.Rat {
	r, _ := new(big.Rat).SetString(number) // normalNumber has checked the number
	return r
}
