// Package awstest makes AWS clients that talk to the fakes of this module. Only tests import it.
package awstest

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl/kinesistest"
)

// Kinesis returns a client of the real SDK for srv, with static credentials and without retries.
// opts are applied last. The client's idle connections are closed when the test ends.
func Kinesis(tb testing.TB, srv *kinesistest.Server, opts ...func(*kinesis.Options)) *kinesis.Client {
	tb.Helper()
	httpClient := srv.HTTPClient()
	tb.Cleanup(httpClient.CloseIdleConnections)
	options := kinesis.Options{
		Region:       kinesistest.DefaultRegion,
		BaseEndpoint: aws.String(srv.URL()),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		HTTPClient:   httpClient,
		Retryer:      aws.NopRetryer{},
	}
	return kinesis.New(options, opts...)
}
