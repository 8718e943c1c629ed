package dynamotest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// MarshalJSON writes the value as the service does.
func (v Value) MarshalJSON() ([]byte, error) { return v.appendJSON(nil) }

// MarshalJSON writes the attributes in the order of their names.
func (it Item) MarshalJSON() ([]byte, error) {
	if it == nil {
		return []byte("null"), nil
	}
	return it.appendJSON(nil)
}

func (v Value) appendJSON(out []byte) ([]byte, error) {
	out = append(append(append(out, `{"`...), v.Type...), `":`...)
	var err error
	switch v.Type {
	case "S", "N":
		out = appendString(out, v.Text)
	case "B":
		out = appendBytes(out, v.Text)
	case "BOOL":
		out = strconv.AppendBool(out, v.Bool)
	case "NULL":
		out = append(out, "true"...)
	case "SS", "NS":
		out = appendList(out, v.Set, appendString)
	case "BS":
		out = appendList(out, v.Set, appendBytes)
	case "L":
		out = appendList(out, v.List, func(out []byte, element Value) []byte {
			var failed error
			out, failed = element.appendJSON(out)
			err = errors.Join(err, failed)
			return out
		})
	case "M":
		out, err = v.Map.appendJSON(out)
	default:
		return nil, fmt.Errorf("dynamotest: value of unknown type %q", v.Type)
	}
	return append(out, '}'), err
}

func (it Item) appendJSON(out []byte) ([]byte, error) {
	out = append(out, '{')
	for i, name := range slices.Sorted(maps.Keys(it)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, name), ':')
		var err error
		if out, err = it[name].appendJSON(out); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

func appendList[T any](out []byte, list []T, element func([]byte, T) []byte) []byte {
	out = append(out, '[')
	for i, e := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = element(out, e)
	}
	return append(out, ']')
}

func appendString(out []byte, s string) []byte {
	if !plain(s) {
		quoted, _ := json.Marshal(s) // a string has no error
		return append(out, quoted...)
	}
	return append(append(append(out, '"'), s...), '"')
}

func appendBytes(out []byte, s string) []byte {
	return append(base64.StdEncoding.AppendEncode(append(out, '"'), []byte(s)), '"')
}

// plain tells whether s is printable ASCII that JSON holds without an escape.
func plain[T string | []byte](s T) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// plainText returns the text of {"S":"text"} and {"N":"text"}, if the value is written like this
// and has no escapes. Almost all values of a lease table do.
func plainText(b []byte) (typ, text string, ok bool) {
	const before, after = len(`{"S":"`), len(`"}`)
	if len(b) < before+after || string(b[:2]) != `{"` || string(b[3:before]) != `":"` || string(b[len(b)-after:]) != `"}` {
		return "", "", false
	}
	content := b[before : len(b)-after]
	return string(b[2]), string(content), (b[2] == 'S' || b[2] == 'N') && plain(content)
}

// UnmarshalJSON reads the value as the service does. It must have one member, of a known type.
// Numbers get the service's form.
func (v *Value) UnmarshalJSON(b []byte) error {
	if typ, text, ok := plainText(b); ok {
		*v = Value{Type: typ, Text: text}
		if typ == "S" {
			return nil
		}
		var err error
		v.Text, err = normalNumber(text)
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	if len(members) != 1 {
		return validation("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the " +
			"supported datatypes")
	}
	for typ, raw := range members {
		got, err := decodeValue(typ, raw)
		if err != nil {
			return err
		}
		*v = got
	}
	return nil
}

func decodeValue(typ string, raw json.RawMessage) (Value, error) {
	v := Value{Type: typ}
	var err error
	switch typ {
	case "S":
		err = json.Unmarshal(raw, &v.Text)
	case "N":
		if err = json.Unmarshal(raw, &v.Text); err == nil {
			v.Text, err = normalNumber(v.Text)
		}
	case "B":
		var b []byte
		err = json.Unmarshal(raw, &b)
		v.Text = string(b)
	case "BOOL":
		err = json.Unmarshal(raw, &v.Bool)
	case "NULL":
	case "SS", "NS", "BS":
		return decodeSet(typ, raw)
	case "L":
		err = json.Unmarshal(raw, &v.List)
	case "M":
		err = json.Unmarshal(raw, &v.Map)
	default:
		err = validation("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
	}
	return v, err
}

func decodeSet(typ string, raw json.RawMessage) (Value, error) {
	v := Value{Type: typ}
	if err := json.Unmarshal(raw, &v.Set); err != nil {
		return v, err
	}
	for i, s := range v.Set {
		switch typ {
		case "NS":
			n, err := normalNumber(s)
			if err != nil {
				return v, err
			}
			v.Set[i] = n
		case "BS":
			b, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				return v, err
			}
			v.Set[i] = string(b)
		}
	}
	if len(v.Set) == 0 {
		return v, validation("One or more parameter values were invalid: An string set  may not be empty")
	}
	sorted := slices.Sorted(slices.Values(v.Set))
	if len(slices.Compact(slices.Clone(sorted))) != len(v.Set) {
		return v, validation(fmt.Sprintf("One or more parameter values were invalid: Input collection [%s] contains "+
			"duplicates.", strings.Join(v.Set, ", ")))
	}
	v.Set = sorted // the service has an order of its own; any fixed order is good enough
	return v, nil
}

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

func (i Item) size() int {
	n := 0
	for name, v := range i {
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
