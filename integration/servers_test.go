// Package integration runs the whole library against servers that nobody here wrote:
// LocalStack, DynamoDB Local and kinesis-local. `make integration` starts them; README.md
// says how to do without it. A test without its server skips and names the variable it
// missed, and fails instead when REQUIRE_INTEGRATION is set.
package integration

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"
)

const region = "us-east-1"

// endpoint returns the value of the first variable that is set.
func endpoint(t testing.TB, variables ...string) string {
	t.Helper()
	for _, name := range variables {
		if url := os.Getenv(name); url != "" {
			return strings.TrimSuffix(url, "/")
		}
	}
	cannotRun(t, "none of these variables is set: "+strings.Join(variables, ", ")+" (see integration/README.md)")
	return ""
}

// cannotRun ends a test that cannot run here: it skips, and fails when REQUIRE_INTEGRATION is set.
func cannotRun(t testing.TB, message string) {
	t.Helper()
	if os.Getenv("REQUIRE_INTEGRATION") != "" {
		require.FailNow(t, message)
	}
	t.Skip(message)
}

func localstackURL(t *testing.T) string {
	return endpoint(t, "KCL_LOCALSTACK_URL", "AWS_ENDPOINT_URL")
}

func dynamodbURL(t *testing.T) string {
	return endpoint(t, "KCL_DYNAMODB_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL")
}

func kinesislocalURL(t *testing.T) string {
	return endpoint(t, "KCL_KINESISLOCAL_URL")
}

// DynamoDB Local wants letters and digits in an access key id.
func awsConfig() aws.Config {
	return aws.Config{Region: region, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
}

func kinesisClient(url string, options ...func(*kinesis.Options)) *kinesis.Client {
	options = append([]func(*kinesis.Options){func(o *kinesis.Options) { o.BaseEndpoint = aws.String(url) }}, options...)
	return kinesis.NewFromConfig(awsConfig(), options...)
}

func dynamodbClient(url string) *dynamodb.Client {
	return dynamodb.NewFromConfig(awsConfig(), func(o *dynamodb.Options) { o.BaseEndpoint = aws.String(url) })
}

// kinesislocalClient makes up for the frame that kinesis-local leaves out.
func kinesislocalClient(url string) *kinesis.Client {
	client := h1()
	client.Transport = initialResponse{client.Transport}
	return kinesisClient(url, func(o *kinesis.Options) { o.HTTPClient = client })
}

// h2c is a client for HTTP/2 without TLS, with prior knowledge.
func h2c() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{
		Protocols:   protocols,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}}
}

// h1 is a client for HTTP/1.1: one connection per open stream.
func h1() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}}
}

// unique makes a name that no other test and no earlier run used: the servers may be shared.
func unique(prefix string) string {
	return prefix + "-" + strings.ToLower(rand.Text()[:10])
}

// within is the time a test gets; what it starts ends with it.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// until waits for a condition, and fails with what describe says when ctx ends first.
func until(ctx context.Context, t *testing.T, describe func() string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			require.FailNow(t, "gave up waiting: "+describe(), context.Cause(ctx))
		case <-tick.C:
		}
	}
}
