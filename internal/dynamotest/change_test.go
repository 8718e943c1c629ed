package dynamotest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
)

// TestAttributeUpdates has one update of one attribute at a time. want is the attribute afterwards,
// "" for none, or the end of the error.
func TestAttributeUpdates(t *testing.T) {
	t.Parallel()
	const (
		mismatch = "Type mismatch for attribute to update"
		valued   = "Only DELETE action is allowed when no attribute value is specified"
		key      = "Cannot update attribute leaseKey. This attribute is part of the key"
		unadded  = "ADD action is not supported for the type "
		undelete = "DELETE action with value is not supported for the type "
	)
	for _, tc := range []struct{ attribute, update, want string }{
		{"q", `{"Value":{"S":"1"}}`, `{"S":"1"}`},
		{"s", `{"Action":"PUT","Value":{"N":"1"}}`, `{"N":"1"}`},
		{"q", `{}`, valued},
		{"q", `{"Action":"ADD"}`, valued},
		{"s", `{"Action":"DELETE"}`, ""},
		{"q", `{"Action":"DELETE"}`, ""},
		{"", `{"Value":{"S":"1"}}`, "Empty attribute name"},
		{"leaseKey", `{"Value":{"S":"a"}}`, key},
		{"leaseKey", `{"Action":"DELETE"}`, key},
		{"n", `{"Action":"ADD","Value":{"N":"1"}}`, `{"N":"8"}`},
		{"n", `{"Action":"ADD","Value":{"N":"-7.25"}}`, `{"N":"-0.25"}`},
		{"n", `{"Action":"ADD","Value":{"N":"-7"}}`, `{"N":"0"}`},
		{"q", `{"Action":"ADD","Value":{"N":"1E2"}}`, `{"N":"100"}`},
		{"n", `{"Action":"ADD","Value":{"N":"1E-40"}}`, "more than 38 significant digits in a Number"},
		{"s", `{"Action":"ADD","Value":{"N":"1"}}`, mismatch},
		{"ss", `{"Action":"ADD","Value":{"NS":["1"]}}`, mismatch},
		{"ss", `{"Action":"ADD","Value":{"SS":["x","a"]}}`, `{"SS":["a","x","y"]}`},
		{"ns", `{"Action":"ADD","Value":{"NS":["1.0","3"]}}`, `{"NS":["1","2","3"]}`},
		{"q", `{"Action":"ADD","Value":{"BS":["AQ=="]}}`, `{"BS":["AQ=="]}`},
		{"l", `{"Action":"ADD","Value":{"L":[{"S":"x"}]}}`, `{"L":[{"S":"x"},{"N":"1"},{"S":"x"}]}`},
		{"q", `{"Action":"ADD","Value":{"S":"x"}}`, unadded + "STRING"},
		{"m", `{"Action":"ADD","Value":{"M":{}}}`, unadded + "MAP"},
		{"ss", `{"Action":"DELETE","Value":{"SS":["x","a"]}}`, `{"SS":["y"]}`},
		{"ss", `{"Action":"DELETE","Value":{"SS":["x","y"]}}`, ""},
		{"q", `{"Action":"DELETE","Value":{"SS":["x"]}}`, ""},
		{"s", `{"Action":"DELETE","Value":{"SS":["x"]}}`, mismatch},
		{"s", `{"Action":"DELETE","Value":{"S":"hello"}}`, undelete + "STRING"},
		{"l", `{"Action":"DELETE","Value":{"L":[]}}`, undelete + "LIST"},
		{"q", `{"Action":"put","Value":{"S":"1"}}`, "at 'attributeUpdates.q.member.action' failed to satisfy constraint: " +
			"Member must satisfy enum value set: [ADD, PUT, DELETE]"},
	} {
		send := legacyServer(t)
		status, answer := send("UpdateItem", `{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},"ReturnValues":"ALL_NEW",`+
			`"AttributeUpdates":{"`+tc.attribute+`":`+tc.update+`}}`)
		if status != http.StatusOK {
			require.True(t, tc.want != "" && strings.HasSuffix(message(t, answer), tc.want), "%v: %s", tc, answer)
			continue
		}
		var changed struct {
			Attributes map[string]json.RawMessage
		}
		require.NoError(t, json.Unmarshal([]byte(answer), &changed))
		require.Equal(t, tc.want, string(changed.Attributes[tc.attribute]), "%v", tc)
		require.JSONEq(t, `{"S":"a"}`, string(changed.Attributes["leaseKey"]))
	}
}

// TestAttributeUpdatesMakeTheItem: without an item any update makes one, as in DynamoDB Local.
func TestAttributeUpdatesMakeTheItem(t *testing.T) {
	t.Parallel()
	send := legacyServer(t)
	const (
		changes  = `{"n":{"Action":"ADD","Value":{"N":"1"}},"s":{"Value":{"S":"x"}}}`
		removals = `{"ss":{"Action":"DELETE","Value":{"SS":["x"]}},"s":{"Action":"DELETE"}}`
	)
	for update, want := range map[string]string{
		changes:  `{"leaseKey":{"S":"b"},"n":{"N":"1"},"s":{"S":"x"}}`,
		removals: `{"leaseKey":{"S":"b"}}`,
	} {
		_, answer := send("UpdateItem", `{"TableName":"leases","Key":{"leaseKey":{"S":"b"}},"AttributeUpdates":`+update+`,`+
			`"Expected":{"leaseKey":{"Exists":false}}}`)
		require.Equal(t, `{}`, answer)
		_, answer = send("DeleteItem", `{"TableName":"leases","Key":{"leaseKey":{"S":"b"}},"ReturnValues":"ALL_OLD",`+
			`"Expected":{"leaseKey":{"Value":{"S":"b"}}}}`)
		require.JSONEq(t, `{"Attributes":`+want+`}`, answer)
	}
}

// TestUpdatesDoNotShareValues: a later change of a set leaves an earlier answer of a read alone.
func TestUpdatesDoNotShareValues(t *testing.T) {
	t.Parallel()
	srv, client := serve(t, dynamotest.Config{})
	put(t, client, item{"leaseKey": str("a")})
	srv.Put("leases", dynamotest.Item{"leaseKey": dynamotest.S("a"), "ss": dynamotest.SS("x", "y")})
	before := srv.Items("leases")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(
		`{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},`+
			`"AttributeUpdates":{"ss":{"Action":"DELETE","Value":{"SS":["x"]}}}}`))
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810.UpdateItem")
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, dynamotest.SS("x", "y"), before[0]["ss"])
	require.Equal(t, dynamotest.SS("y"), srv.Items("leases")[0]["ss"])
}
