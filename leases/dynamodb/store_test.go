package dynamodb_test

import (
	"testing"
	"testing/synctest"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasetest"
)

const table = "orders"

// serve starts a fake and returns it with a store on it.
func serve(t *testing.T, cfg dynamotest.Config, change ...func(*dynamodb.Config)) (*dynamotest.Server, *dynamodb.Store) {
	t.Helper()
	srv := dynamotest.Start(cfg)
	t.Cleanup(srv.Close)
	return srv, storeOn(t, srv, change...)
}

func storeOn(t *testing.T, srv *dynamotest.Server, change ...func(*dynamodb.Config)) *dynamodb.Store {
	t.Helper()
	cfg := dynamodb.Config{Client: awstest.DynamoDB(t, srv), Table: table}
	for _, c := range change {
		c(&cfg)
	}
	return dynamodb.New(cfg)
}

func TestLeaseStore(t *testing.T) {
	t.Parallel()
	leasetest.TestStore(t, func(t *testing.T) leases.Store {
		_, s := serve(t, dynamotest.Config{PageRows: 7, EmptyPages: true})
		return s
	})
}

func TestLeaseStoreInBubble(t *testing.T) {
	t.Parallel()
	leasetest.TestStore(t, func(t *testing.T) leases.Store {
		_, s := serve(t, dynamotest.Config{})
		return s
	})
	_ = synctest.Wait
}
