package awstest

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/kinesis-go/kcl/internal/dynamotest"
)

// DynamoDB returns an SDK client for a server of dynamotest.Start, on the network host named
// "client". The client does not sign. Its connections are closed when the test ends.
func DynamoDB(tb testing.TB, srv *dynamotest.Server, opts ...func(*dynamodb.Options)) *dynamodb.Client {
	tb.Helper()
	return DynamoDBFrom(tb, srv, "client", opts...)
}

// DynamoDBFrom is [DynamoDB] for a client on another network host. Tests can partition or kill the
// host.
func DynamoDBFrom(
	tb testing.TB,
	srv *dynamotest.Server,
	host string,
	opts ...func(*dynamodb.Options),
) *dynamodb.Client {
	tb.Helper()
	hc := srv.HTTPClientFrom(host)
	tb.Cleanup(hc.CloseIdleConnections)
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(srv.URL()),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		HTTPClient:   hc,
		HTTPSignerV4: unsigned{},
	}, opts...)
}
