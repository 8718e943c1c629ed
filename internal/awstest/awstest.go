// Package awstest makes AWS clients that talk to the fakes of this module. Only tests import it.
package awstest

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl/kinesistest"
)

// unsigned leaves requests without a signature. The fakes ignore signatures. Signing took three to
// four percent of the time of the tests.
type unsigned struct{}

// SignHTTP does nothing.
func (unsigned) SignHTTP(
	context.Context, aws.Credentials, *http.Request, string, string, string, time.Time, ...func(*v4.SignerOptions),
) error {
	return nil
}

// Kinesis returns a client of the real SDK for srv. It neither signs nor retries.
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
		HTTPSignerV4: unsigned{},
		Retryer:      aws.NopRetryer{},
	}
	return kinesis.New(options, opts...)
}
