package dynamotest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
)

// legacyRow has an attribute of every type.
const legacyRow = `{"leaseKey":{"S":"a"},"s":{"S":"hello"},"n":{"N":"7"},"b":{"B":"AQI="},"ss":{"SS":["x","y"]},` +
	`"ns":{"NS":["1","2"]},"bs":{"BS":["AQ==","Ag=="]},"l":{"L":[{"S":"x"},{"N":"1"}]},"m":{"M":{"k":{"S":"v"}}},` +
	`"bool":{"BOOL":true},"null":{"NULL":true}}`

// legacyServer holds legacyRow in table leases. send returns the status and the answer of a call.
func legacyServer(t *testing.T) (send func(operation, body string) (int, string)) {
	t.Helper()
	srv := dynamotest.New(dynamotest.Config{})
	send = func(operation, body string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		out, err := io.ReadAll(w.Result().Body)
		require.NoError(t, err)
		return w.Code, string(out)
	}
	status, _ := send("CreateTable",
		`{"TableName":"leases","KeySchema":[{"AttributeName":"leaseKey","KeyType":"HASH"}],`+
			`"AttributeDefinitions":[{"AttributeName":"leaseKey","AttributeType":"S"}],"BillingMode":"PAY_PER_REQUEST"}`)
	require.Equal(t, http.StatusOK, status)
	status, _ = send("PutItem", `{"TableName":"leases","Item":`+legacyRow+`}`)
	require.Equal(t, http.StatusOK, status)
	return send
}

// message is the message of an error's answer.
func message(t *testing.T, answer string) string {
	t.Helper()
	var failure struct {
		Message string `json:"message"`
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &failure))
	return failure.Message
}

const conditionFailed = "The conditional request failed"

// TestExpected has many values of Expected on one row, and the error of each; "" means none. The
// texts are those of DynamoDB Local.
func TestExpected(t *testing.T) {
	t.Parallel()
	const (
		invalid = "One or more parameter values were invalid: "
		given   = invalid + "Value must be provided when Exists is "
		absent  = invalid + "Value cannot be used when Exists is false for Attribute: "
	)
	send := legacyServer(t)
	for expected, want := range map[string]string{
		`{}`:                            "",
		`{"s":{"Value":{"S":"hello"}}}`: "",
		`{"s":{"Exists":true,"Value":{"S":"hello"}}}`:           "",
		`{"s":{"Value":{"S":"other"}}}`:                         conditionFailed,
		`{"n":{"Value":{"N":"7.0"}}}`:                           "",
		`{"s":{"Exists":false}}`:                                conditionFailed,
		`{"q":{"Exists":false}}`:                                "",
		`{"s":{}}`:                                              given + "null for Attribute: s",
		`{"s":{"Exists":true}}`:                                 given + "true for Attribute: s",
		`{"s":{"Exists":false,"Value":{"S":"x"}}}`:              absent + "s",
		`{"":{"Value":{"S":"x"}}}`:                              "Empty attribute name",
		`{"s":{"Value":{"S":"hello"}},"q":{"Value":{"S":"x"}}}`: conditionFailed,
		`{"s":{"AttributeValueList":[{"S":"x"}]}}`: invalid +
			"AttributeValueList can only be used with a ComparisonOperator for Attribute: s",
		`{"s":{"Value":{"S":"x"},"AttributeValueList":[{"S":"x"}]}}`: invalid +
			"Value and AttributeValueList cannot be used together for Attribute: s",
		`{"s":{"Exists":true,"ComparisonOperator":"EQ","AttributeValueList":[{"S":"x"}]}}`: invalid +
			"Exists and ComparisonOperator cannot be used together for Attribute: s",
		`{"s":{"ComparisonOperator":"EQ"}}`: invalid +
			"Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: s",
		`{"s":{"ComparisonOperator":"EQ","Value":{"S":"hello"}}}`: "",
		`{"s":{"ComparisonOperator":"XX","Value":{"S":"hello"}}}`: "1 validation error detected: Value 'XX' at " +
			"'expected.s.member.comparisonOperator' failed to satisfy constraint: Member must satisfy enum value set: [IN, " +
			"NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]",
	} {
		for _, operation := range []string{"UpdateItem", "DeleteItem"} {
			status, answer := send(operation, `{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},"Expected":`+expected+`}`)
			if want == "" {
				require.Equal(t, http.StatusOK, status, "%s: %s", expected, answer)
			} else {
				require.Equal(t, want, message(t, answer), expected)
			}
			status, _ = send("PutItem", `{"TableName":"leases","Item":`+legacyRow+`}`)
			require.Equal(t, http.StatusOK, status)
		}
		_, answer := send("PutItem", `{"TableName":"leases","Item":`+legacyRow+`,"Expected":`+expected+`}`)
		if want != "" {
			require.Equal(t, want, message(t, answer), expected)
		}
	}
}

// TestComparisonOperators has the outcome of each operator: true, false, or the end of an error.
func TestComparisonOperators(t *testing.T) {
	t.Parallel()
	const (
		yes, no = "", conditionFailed
		count   = "Invalid number of argument(s) for the "
		mixed   = "AttributeValues inside AttributeValueList must be of same type"
	)
	send := legacyServer(t)
	for _, tc := range []struct{ attribute, operator, list, want string }{
		{"s", "EQ", `{"S":"hello"}`, yes},
		{"s", "EQ", `{"N":"7"}`, no},
		{"q", "EQ", `{"S":"x"}`, no},
		{"ss", "EQ", `{"SS":["y","x"]}`, yes},
		{"l", "EQ", `{"L":[{"S":"x"},{"N":"1.0"}]}`, yes},
		{"m", "EQ", `{"M":{"k":{"S":"v"}}}`, yes},
		{"null", "EQ", `{"NULL":true}`, yes},
		{"bool", "EQ", `{"BOOL":false}`, no},
		{"s", "EQ", ``, count + "EQ ComparisonOperator"},
		{"s", "EQ", `{"S":"a"},{"S":"b"}`, count + "EQ ComparisonOperator"},
		{"s", "NE", `{"S":"hello"}`, no},
		{"s", "NE", `{"N":"7"}`, yes},
		{"q", "NE", `{"S":"x"}`, yes},
		{"s", "LT", `{"S":"hello"}`, no},
		{"s", "LT", `{"S":"z"}`, yes},
		{"n", "LT", `{"N":"10"}`, yes},
		{"n", "LT", `{"N":"-10"}`, no},
		{"b", "LT", `{"B":"AQM="}`, yes},
		{"s", "LT", `{"N":"7"}`, no},
		{"q", "LT", `{"S":"x"}`, no},
		{"bool", "LT", `{"BOOL":true}`, "LT is not valid for BOOL AttributeValue type"},
		{"ss", "LT", `{"SS":["x"]}`, "LT is not valid for SS AttributeValue type"},
		{"s", "LE", `{"S":"hello"}`, yes},
		{"n", "LE", `{"N":"6.99"}`, no},
		{"n", "GT", `{"N":"6.99"}`, yes},
		{"s", "GT", `{"S":"hello"}`, no},
		{"s", "GE", `{"S":"hello"}`, yes},
		{"n", "GE", `{"N":"10"}`, no},
		{"q", "NULL", ``, yes},
		{"null", "NULL", ``, no},
		{"null", "NOT_NULL", ``, yes},
		{"q", "NOT_NULL", ``, no},
		{"s", "NULL", `{"S":"x"}`, count + "NULL ComparisonOperator"},
		{"s", "IN", `{"S":"a"},{"S":"hello"}`, yes},
		{"n", "IN", `{"N":"1"},{"N":"7.0"}`, yes},
		{"s", "IN", `{"S":"a"}`, no},
		{"q", "IN", `{"S":"a"}`, no},
		{"s", "IN", `{"S":"a"},{"N":"7"}`, mixed},
		{"s", "IN", ``, count + "IN ComparisonOperator"},
		{"bool", "IN", `{"BOOL":true}`, "IN is not valid for BOOL AttributeValue type"},
		{"s", "BETWEEN", `{"S":"a"},{"S":"z"}`, yes},
		{"n", "BETWEEN", `{"N":"7"},{"N":"7"}`, yes},
		{"n", "BETWEEN", `{"N":"1.5"},{"N":"6"}`, no},
		{"n", "BETWEEN", `{"S":"a"},{"S":"z"}`, no},
		{"q", "BETWEEN", `{"S":"a"},{"S":"z"}`, no},
		{"s", "BETWEEN", `{"S":"a"},{"N":"7"}`, mixed},
		{"s", "BETWEEN", `{"S":"z"}`, count + "BETWEEN ComparisonOperator"},
		{"s", "BETWEEN", `{"S":"z"},{"S":"a"}`, "range where the lower bound is greater than the upper bound"},
		{"s", "BEGINS_WITH", `{"S":"he"}`, yes},
		{"s", "BEGINS_WITH", `{"S":"lo"}`, no},
		{"b", "BEGINS_WITH", `{"B":"AQ=="}`, yes},
		{"s", "BEGINS_WITH", `{"B":"AQ=="}`, no},
		{"q", "BEGINS_WITH", `{"S":"x"}`, no},
		{"ss", "BEGINS_WITH", `{"S":"x"}`, no},
		{"n", "BEGINS_WITH", `{"N":"7"}`, "BEGINS_WITH is not valid for N AttributeValue type"},
		{"s", "CONTAINS", `{"S":"ell"}`, yes},
		{"s", "CONTAINS", `{"S":"no"}`, no},
		{"b", "CONTAINS", `{"B":"Ag=="}`, yes},
		{"s", "CONTAINS", `{"N":"7"}`, no},
		{"n", "CONTAINS", `{"N":"7"}`, no},
		{"ss", "CONTAINS", `{"S":"x"}`, yes},
		{"ss", "CONTAINS", `{"N":"1"}`, no},
		{"ns", "CONTAINS", `{"N":"1.0"}`, yes},
		{"bs", "CONTAINS", `{"B":"AQ=="}`, yes},
		{"l", "CONTAINS", `{"N":"1"}`, yes},
		{"l", "CONTAINS", `{"S":"no"}`, no},
		{"m", "CONTAINS", `{"S":"k"}`, no},
		{"bool", "CONTAINS", `{"BOOL":true}`, no},
		{"q", "CONTAINS", `{"S":"x"}`, no},
		{"s", "CONTAINS", `{"SS":["x"]}`, "CONTAINS is not valid for SS AttributeValue type"},
		{"s", "NOT_CONTAINS", `{"S":"ell"}`, no},
		{"s", "NOT_CONTAINS", `{"S":"no"}`, yes},
		{"ss", "NOT_CONTAINS", `{"N":"1"}`, yes},
		{"m", "NOT_CONTAINS", `{"S":"k"}`, yes},
		{"q", "NOT_CONTAINS", `{"S":"x"}`, no},
	} {
		expected := `{"` + tc.attribute + `":{"ComparisonOperator":"` + tc.operator +
			`","AttributeValueList":[` + tc.list + `]}}`
		status, answer := send("UpdateItem",
			`{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},"Expected":`+expected+`}`)
		if tc.want == yes {
			require.Equal(t, http.StatusOK, status, "%s: %s", expected, answer)
		} else {
			require.True(t, strings.HasSuffix(message(t, answer), tc.want), "%s: %s", expected, answer)
		}
	}
}

// TestConditionalOperator joins two conditions, of which one holds.
func TestConditionalOperator(t *testing.T) {
	t.Parallel()
	send := legacyServer(t)
	const (
		two = `"Expected":{"s":{"Value":{"S":"hello"}},"n":{"Value":{"N":"8"}}}`
		one = `"Expected":{"s":{"Value":{"S":"hello"}}}`
	)
	for parameters, want := range map[string]string{
		two:                                  conditionFailed,
		two + `,"ConditionalOperator":"AND"`: conditionFailed,
		two + `,"ConditionalOperator":"OR"`:  "",
		one + `,"ConditionalOperator":"OR"`: "ConditionalOperator can only be used when Filter or Expected has two or more " +
			"elements",
		`"ConditionalOperator":"OR"`: "ConditionalOperator cannot be used without Filter or Expected",
		two + `,"ConditionalOperator":"or"`: "1 validation error detected: Value 'or' at 'conditionalOperator' failed to " +
			"satisfy constraint: Member must satisfy enum value set: [OR, AND]",
	} {
		status, answer := send("UpdateItem", `{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},`+parameters+`}`)
		if want == "" {
			require.Equal(t, http.StatusOK, status, "%s: %s", parameters, answer)
		} else {
			require.Equal(t, want, message(t, answer), parameters)
		}
	}
}

// TestOldItemOfAFailedExpectation comes with the error, as for expressions.
func TestOldItemOfAFailedExpectation(t *testing.T) {
	t.Parallel()
	send := legacyServer(t)
	_, answer := send("UpdateItem", `{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},`+
		`"Expected":{"s":{"Value":{"S":"other"}}},"ReturnValuesOnConditionCheckFailure":"ALL_OLD"}`)
	require.Equal(t, conditionFailed, message(t, answer))
	var failure struct{ Item json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(answer), &failure))
	require.JSONEq(t, legacyRow, string(failure.Item))
}

// TestLegacyBesideExpressions: a request has one kind of parameters.
func TestLegacyBesideExpressions(t *testing.T) {
	t.Parallel()
	send := legacyServer(t)
	const (
		both = "Can not use both expression and non-expression parameters in the same request: " +
			"Non-expression parameters: "
		updates   = `"AttributeUpdates":{"z":{"Value":{"S":"1"}}}`
		expected  = `"Expected":{"s":{"Exists":false}}`
		operator  = `"ConditionalOperator":"OR"`
		update    = `"UpdateExpression":"SET #s = :v"`
		condition = `"ConditionExpression":"attribute_exists(#s)"`
		names     = `"ExpressionAttributeNames":{"#s":"s"}`
		values    = `"ExpressionAttributeValues":{":v":{"S":"x"}}`
	)
	for _, tc := range []struct {
		parameters []string
		want       string
	}{
		{[]string{updates, condition, names}, both + "{AttributeUpdates} Expression parameters: {ConditionExpression}"},
		{
			[]string{updates, expected, update, condition, names, values},
			both + "{AttributeUpdates, Expected} Expression parameters: {UpdateExpression, ConditionExpression}",
		},
		{
			[]string{expected, operator, update, names, values},
			both + "{Expected, ConditionalOperator} Expression parameters: {UpdateExpression}",
		},
		{[]string{operator, condition, names}, both + "{ConditionalOperator} Expression parameters: {ConditionExpression}"},
		{[]string{updates, names}, "ExpressionAttributeNames can only be specified when using expressions"},
		{[]string{expected, values}, "ExpressionAttributeValues can only be specified when using expressions"},
		{[]string{`"AttributeUpdates":{}`, `"Expected":{}`, condition, names}, ""},
	} {
		status, answer := send("UpdateItem",
			`{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},`+strings.Join(tc.parameters, ",")+`}`)
		if tc.want == "" {
			require.Equal(t, http.StatusOK, status, answer)
		} else {
			require.Equal(t, tc.want, message(t, answer))
		}
	}
	_, answer := send("TransactWriteItems",
		`{"TransactItems":[{"Delete":{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},`+expected+`}}]}`)
	require.Equal(t, "Delete of a transaction has no such parameter", message(t, answer))
}
