package dynamodb_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// A server names the same key as the end of its pages again and again. The listing ends with an
// error.
func TestPagesThatDoNotEnd(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{}, func(c *dynamodb.Config) { c.ScanSegments = 1 })
	require.NoError(t, s.Init(t.Context()))
	body := []byte(`{"Items":[],"LastEvaluatedKey":{"leaseKey":{"S":"a"}}}`)
	for _, operation := range []string{"Scan", "Query"} {
		srv.Inject(dynamotest.Fault{Operation: operation, Times: 100, Do: []dynamotest.Action{dynamotest.Answer(200, body)}})
	}
	_, err := s.List(t.Context())
	require.ErrorContains(t, err, `dynamodb:Scan table orders: the pages do not end, LastEvaluatedKey is leaseKey "a"`)
	_, err = s.Fleet().OwnedBy(t.Context(), "w")
	require.ErrorContains(t, err, `dynamodb:Query table orders: the pages do not end`)
	require.Less(t, srv.Calls("Scan")+srv.Calls("Query"), 30)
}
