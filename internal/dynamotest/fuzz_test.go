package dynamotest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzRequest: every request gets an answer of JSON with a status. Stored items can be read back.
func FuzzRequest(f *testing.F) {
	f.Add("PutItem",
		`{"TableName":"leases","Item":{"leaseKey":{"S":"a"},"n":{"N":"1E2"},"m":{"M":{"l":{"L":[{"NULL":true}]}}}}}`)
	f.Add("UpdateItem",
		`{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},"UpdateExpression":"SET #a = :a REMOVE #b",`+
			`"ConditionExpression":"NOT (attribute_exists(#a) OR #b = :a)","ExpressionAttributeNames":{"#a":"a","#b":"b"},`+
			`"ExpressionAttributeValues":{":a":{"SS":["x"]}}}`)
	f.Add("UpdateItem",
		`{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},"AttributeUpdates":{"a":{"Action":"ADD","Value":{"N":"1"}},`+
			`"b":{"Action":"DELETE","Value":{"SS":["x"]}},"c":{"Value":{"S":"y"}}},"Expected":{"a":{"Value":{"N":"1"}},`+
			`"b":{"ComparisonOperator":"CONTAINS","AttributeValueList":[{"S":"x"}]},"c":{"Exists":false}},`+
			`"ConditionalOperator":"OR"}`)
	f.Add("DeleteItem",
		`{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},"Expected":{"a":{"ComparisonOperator":"BETWEEN",`+
			`"AttributeValueList":[{"N":"-1E-130"},{"N":"1E125"}]}}}`)
	f.Add("Scan",
		`{"TableName":"leases","Limit":1,"ExclusiveStartKey":{"leaseKey":{"S":"a"}},"Segment":0,"TotalSegments":1}`)
	f.Add("GetItem", `{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},"ConsistentRead":true}`)
	f.Add("DeleteItem", `{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},"ReturnValues":"ALL_OLD"}`)
	f.Add("CreateTable",
		`{"TableName":"other","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],`+
			`"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],"BillingMode":"PAY_PER_REQUEST"}`)
	f.Add("Query",
		`{"TableName":"leases","IndexName":"x","KeyConditionExpression":"#o = :o","ExpressionAttributeNames":{"#o":"o"},`+
			`"ExpressionAttributeValues":{":o":{"S":"w"}},"ExclusiveStartKey":{"leaseKey":{"S":"a"},"o":{"S":"w"}},"Limit":1}`)
	f.Add("UpdateTable",
		`{"TableName":"leases","AttributeDefinitions":[{"AttributeName":"a","AttributeType":"N"}],`+
			`"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"x","KeySchema":[{"AttributeName":"a","KeyType":"HASH"}],`+
			`"Projection":{"ProjectionType":"KEYS_ONLY"}}}]}`)
	f.Add("TransactWriteItems",
		`{"TransactItems":[{"Put":{"TableName":"leases","Item":{"leaseKey":{"S":"b"}}}},{"Delete":{"TableName":"leases",`+
			`"Key":{"leaseKey":{"S":"a"}},"ConditionExpression":"attribute_exists(#k)",`+
			`"ExpressionAttributeNames":{"#k":"leaseKey"}}}],"ClientRequestToken":"t"}`)
	f.Fuzz(func(t *testing.T, operation, body string) {
		s := New(Config{})
		send := func(operation, body string) (int, string) {
			r := httptest.NewRequest(http.MethodPost, "http://dynamodb.test/", strings.NewReader(body))
			r.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			out, err := io.ReadAll(w.Result().Body)
			require.NoError(t, err)
			require.True(t, json.Valid(out), "%s", out)
			return w.Code, string(out)
		}
		status, _ := send("CreateTable",
			`{"TableName":"leases","KeySchema":[{"AttributeName":"leaseKey","KeyType":"HASH"}],`+
				`"AttributeDefinitions":[{"AttributeName":"leaseKey","AttributeType":"S"}],"BillingMode":"PAY_PER_REQUEST"}`)
		require.Equal(t, http.StatusOK, status)
		send("PutItem", `{"TableName":"leases","Item":{"leaseKey":{"S":"a"},"a":{"N":"1"},"b":{"SS":["x"]}}}`)
		send("UpdateTable",
			`{"TableName":"leases","AttributeDefinitions":[{"AttributeName":"o","AttributeType":"S"}],`+
				`"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"x","KeySchema":[{"AttributeName":"o","KeyType":"HASH"}],`+
				`"Projection":{"ProjectionType":"KEYS_ONLY"}}}]}`)
		status, answer := send(operation, body)
		require.Contains(t, []int{http.StatusOK, http.StatusBadRequest}, status, answer)
		send("Scan", `{"TableName":"leases"}`)
		for _, it := range s.Items("leases") {
			b, err := json.Marshal(it)
			require.NoError(t, err)
			var again Item
			require.NoError(t, json.Unmarshal(b, &again))
			for name, v := range it {
				require.True(t, v.same(again[name]), name)
			}
		}
	})
}
