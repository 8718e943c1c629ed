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
