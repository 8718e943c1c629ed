package dynamotest

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestValueOnTheWire: each type has its form, also where a text needs escapes, and is read back.
func TestValueOnTheWire(t *testing.T) {
	t.Parallel()
	for want, value := range map[string]Value{
		`{"S":"orders/1"}`:               S("orders/1"),
		`{"S":""}`:                       S(""),
		`{"S":"say \\ \"no\" \n\u0000"}`: S("say \\ \"no\" \n\x00"),
		`{"S":"größer"}`:                 S("größer"),
		`{"N":"12.5"}`:                   N("12.5"),
		`{"B":"AP8="}`:                   B([]byte{0, 255}),
		`{"BOOL":true}`:                  {Type: "BOOL", Bool: true},
		`{"NULL":true}`:                  {Type: "NULL"},
		`{"SS":["a","b"]}`:               SS("a", "b"),
		`{"BS":["AQ==","Ag=="]}`:         {Type: "BS", Set: []string{"\x01", "\x02"}},
		`{"L":[]}`:                       {Type: "L", List: []Value{}},
		`{"M":{"a":{"L":[{"S":"b"},{"N":"1"}]},"c":{"M":{}}}}`: {Type: "M", Map: Item{
			"a": {Type: "L", List: []Value{S("b"), N("1")}}, "c": {Type: "M", Map: Item{}},
		}},
	} {
		got, err := json.Marshal(value)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		var back Value
		require.NoError(t, json.Unmarshal(got, &back))
		require.Equal(t, value, back)
	}
	_, err := json.Marshal(Item{"a": {Type: "X"}})
	require.ErrorContains(t, err, "unknown type")
	var v Value
	require.NoError(t, json.Unmarshal([]byte(`{"N":"1e1"}`), &v))
	require.Equal(t, N("10"), v, "the service's form")
	require.Error(t, json.Unmarshal([]byte(`{"N":"one"}`), &v))
	require.Error(t, json.Unmarshal([]byte(`{"S":"a","N":"1"}`), &v))
}
