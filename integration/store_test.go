package integration

import (
	"testing"
	"time"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasetest"
)

// patience is the RequestTimeout of stores whose rules are tested. The servers share two cores, and
// an answer that comes late says nothing about the rules.
const patience = time.Minute

// TestStoreOnDynamoDBLocal runs the suite of every lease store against DynamoDB's own
// implementation of conditional writes.
func TestStoreOnDynamoDBLocal(t *testing.T) {
	t.Parallel()
	client := dynamodbClient(dynamodbURL(t))
	leasetest.TestStore(t, func(*testing.T) leases.Store {
		return dynamodb.New(dynamodb.Config{Client: client, Table: unique("leases"), RequestTimeout: patience})
	})
}

// TestStoreOnLocalStack does the same on what most people test against.
func TestStoreOnLocalStack(t *testing.T) {
	t.Parallel()
	client := dynamodbClient(localstackURL(t))
	leasetest.TestStore(t, func(*testing.T) leases.Store {
		return dynamodb.New(dynamodb.Config{Client: client, Table: unique("leases"), RequestTimeout: patience})
	})
}
