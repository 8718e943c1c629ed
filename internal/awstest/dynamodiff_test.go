package awstest_test

import (
	"testing"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
)

// TestDiffDynamoDB: two fakes agree, so that a difference found elsewhere is
// one between servers and not the helper's own.
func TestDiffDynamoDB(t *testing.T) {
	t.Parallel()
	a, b := dynamotest.Start(dynamotest.Config{}), dynamotest.Start(dynamotest.Config{PageRows: 2})
	t.Cleanup(a.Close)
	t.Cleanup(b.Close)
	awstest.DiffDynamoDB(t, 1, 500, "leases", awstest.DynamoDB(t, a), awstest.DynamoDB(t, b))
}
