package dynamodb_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasetest"
)

// rights returns the rights that a call needs, each an action and a resource. A transaction needs
// the rights of its items.
func rights(t *testing.T, c dynamotest.Call) []string {
	t.Helper()
	const arn = "arn:aws:dynamodb:REGION:ACCOUNT:table/"
	switch c.Operation {
	case "Query":
		var in struct{ IndexName string }
		require.NoError(t, json.Unmarshal(c.Body, &in))
		return []string{"dynamodb:Query " + arn + c.Table + "/index/" + in.IndexName}
	case "TransactWriteItems":
		var in struct {
			TransactItems []map[string]struct{ TableName string }
		}
		require.NoError(t, json.Unmarshal(c.Body, &in))
		var out []string
		for _, it := range in.TransactItems {
			for op, of := range it {
				action := map[string]string{
					"ConditionCheck": "ConditionCheckItem", "Put": "PutItem", "Delete": "DeleteItem", "Update": "UpdateItem",
				}[op]
				out = append(out, "dynamodb:"+action+" "+arn+of.TableName)
			}
		}
		return out
	}
	return []string{"dynamodb:" + c.Operation + " " + arn + c.Table}
}

// policy returns what a file of docs/iam allows, each an action and a resource.
func policy(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/iam/" + file)
	require.NoError(t, err)
	var doc struct {
		Statement []struct {
			Action   []string
			Resource any // a string or a list of strings
		}
	}
	require.NoError(t, json.Unmarshal([]byte(strings.ReplaceAll(string(text), "APPLICATION", table)), &doc))
	var allowed []string
	for _, s := range doc.Statement {
		resources, ok := s.Resource.([]any)
		if !ok {
			resources = []any{s.Resource}
		}
		for _, a := range s.Action {
			for _, r := range resources {
				allowed = append(allowed, a+" "+r.(string))
			}
		}
	}
	return allowed
}

// TestS01LeastPolicyBesideJava: the rights of docs/iam/kcl3.json, besides those of every worker,
// are enough for the whole suite of a fleet store. Each of them is needed.
func TestS01LeastPolicyBesideJava(t *testing.T) {
	t.Parallel()
	allowed, added := policy(t, "efo.json"), policy(t, "kcl3.json")
	allowed = append(allowed, added...)
	var mu sync.Mutex // guards the map
	used := map[string]bool{}
	leasetest.TestFleetStore(t, func(t *testing.T, side bool) leases.SharedStore {
		srv, s := serve(t, dynamotest.Config{}, func(c *dynamodb.Config) { c.MigrateToLeaseTable = true })
		require.NoError(t, s.Init(t.Context()))
		if side {
			sideTables(t, srv)
		}
		srv.Inject(dynamotest.Fault{
			When: func(c dynamotest.Call) bool {
				mu.Lock()
				defer mu.Unlock()
				denied := false
				for _, r := range rights(t, c) {
					used[r] = true
					denied = denied || !slices.Contains(allowed, r)
				}
				return denied
			},
			Do: []dynamotest.Action{dynamotest.Deny()},
		})
		return s
	})
	for _, a := range added {
		require.True(t, used[a], "%s is not needed", a)
	}
}
