package dynamotest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Value is one attribute value. On the wire it is an object with one member, such as {"S": "text"}.
// Values are not changed in place.
type Value struct {
	Type string   // S, N, B, BOOL, NULL, SS, NS, BS, L or M
	Text string   // of S and N; the bytes of B
	Bool bool     // of BOOL
	Set  []string // of SS and NS; the bytes of BS
	List []Value  // of L
	Map  Item     // of M
}

// Item is a row, or a map inside one.
type Item map[string]Value

// S makes a string.
func S(s string) Value { return Value{Type: "S", Text: s} }

// N makes a number.
func N(s string) Value { return Value{Type: "N", Text: s} }

// B makes a binary value.
func B(b []byte) Value { return Value{Type: "B", Text: string(b)} }

// SS makes a set of strings.
func SS(s ...string) Value { return Value{Type: "SS", Set: s} }

// same tells whether two values are equal as the service compares them.
func (v Value) same(w Value) bool {
	if v.Type != w.Type || v.Text != w.Text || v.Bool != w.Bool || len(v.List) != len(w.List) ||
		len(v.Map) != len(w.Map) ||
		len(v.Set) != len(w.Set) {
		return false
	}
	for i := range v.List {
		if !v.List[i].same(w.List[i]) {
			return false
		}
	}
	for name, a := range v.Map {
		if b, ok := w.Map[name]; !ok || !a.same(b) {
			return false
		}
	}
	return slices.Equal(slices.Sorted(slices.Values(v.Set)), slices.Sorted(slices.Values(w.Set)))
}

// size is roughly what the service counts: UTF-8 bytes, 3 for a container, 1 for a member.
func (v Value) size() int {
	n := len(v.Text)
	switch v.Type {
	case "N":
		n = len(v.Text)/2 + 2
	case "BOOL", "NULL":
		n = 1
	case "L", "M":
		n = 3
	}
	for _, s := range v.Set {
		n += len(s)
	}
	for _, e := range v.List {
		n += e.size() + 1
	}
	return n + v.Map.size() + len(v.Map)
}

func (it Item) size() int {
	n := 0
	for name, v := range it {
		n += len(name) + v.size()
	}
	return n
}

// normalNumber returns the service's form of a number: at most 38 digits, no exponent, no
// superfluous zeros.
func normalNumber(s string) (string, error) {
	bad := validation(fmt.Sprintf("The parameter cannot be converted to a numeric value: %s", s))
	mantissa, exponent, hasExponent := strings.Cut(strings.ToLower(s), "e")
	exp := 0
	if hasExponent {
		var err error
		if exp, err = strconv.Atoi(exponent); err != nil || len(exponent) > 5 {
			return "", bad
		}
	}
	sign := ""
	if rest, minus := strings.CutPrefix(mantissa, "-"); minus {
		sign, mantissa = "-", rest
	} else {
		mantissa = strings.TrimPrefix(mantissa, "+")
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", bad
	}
	exp -= len(fraction)
	digits = strings.TrimLeft(digits, "0")
	trimmed := strings.TrimRight(digits, "0")
	exp += len(digits) - len(trimmed)
	digits = trimmed
	switch {
	case digits == "":
		return "0", nil
	case len(digits) > 38:
		return "", validation("Attempting to store more than 38 significant digits in a Number")
	case len(digits)+exp > 126:
		return "", validation("Number overflow. Attempting to store a number with magnitude larger than supported range")
	case len(digits)+exp < -129:
		return "", validation("Number underflow. Attempting to store a number with magnitude smaller than supported range")
	}
	switch point := len(digits) + exp; {
	case exp >= 0:
		digits += strings.Repeat("0", exp)
	case point > 0:
		digits = digits[:point] + "." + digits[point:]
	default:
		digits = "0." + strings.Repeat("0", -point) + digits
	}
	return sign + digits, nil
}
