package dynamotest

import (
	"errors"
	"slices"
	"strings"
)

// action is what a change does with its attribute.
type action int

const (
	setValue action = iota
	removeAttribute
	addValue      // to a number, a set or a list
	removeMembers // of a set
)

// change is a change of one attribute.
type change struct {
	attribute string
	action    action
	value     Value
}

// apply makes the change on an item. A set that loses its last member goes.
func (c change) apply(item Item) *apiError {
	old, exists := item[c.attribute]
	joins := c.action == addValue || c.action == removeMembers
	switch {
	case joins && exists && old.Type != c.value.Type:
		return validation("Type mismatch for attribute to update")
	case c.action == setValue, c.action == addValue && !exists:
		item[c.attribute] = c.value
	case c.action == addValue:
		sum, err := old.plus(c.value)
		if err != nil {
			return err
		}
		item[c.attribute] = sum
	case c.action == removeMembers && exists:
		old.Set = slices.DeleteFunc(slices.Clone(old.Set), func(s string) bool { return slices.Contains(c.value.Set, s) })
		if item[c.attribute] = old; len(old.Set) == 0 {
			delete(item, c.attribute)
		}
	default:
		delete(item, c.attribute)
	}
	return nil
}

// plus adds numbers, joins sets, or appends lists. Both values have the same type.
func (v Value) plus(w Value) (Value, *apiError) {
	sum := Value{Type: v.Type}
	switch v.Type {
	case "N":
		text := rational(v.Text).Add(rational(v.Text), rational(w.Text)).FloatString(max(decimals(v.Text), decimals(w.Text)))
		var err error
		if sum.Text, err = normalNumber(text); err != nil {
			failure, _ := errors.AsType[*apiError](err)
			return Value{}, failure
		}
	case "L":
		sum.List = slices.Concat(v.List, w.List)
	default:
		sum.Set = slices.Compact(slices.Sorted(slices.Values(slices.Concat(v.Set, w.Set))))
	}
	return sum, nil
}

// decimals is the number of digits behind the point.
func decimals(number string) int {
	_, fraction, _ := strings.Cut(number, ".")
	return len(fraction)
}
