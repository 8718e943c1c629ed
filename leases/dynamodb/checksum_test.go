package dynamodb_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/logging"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// wrongChecksums answers with the checksum of another body, as DynamoDB Local does.
type wrongChecksums struct{ inner sdk.HTTPClient }

func (c wrongChecksums) Do(r *http.Request) (*http.Response, error) {
	out, err := c.inner.Do(r)
	if err == nil {
		out.Header.Set("X-Amz-Crc32", "1")
	}
	return out, err
}

// Each answer of DynamoDB Local was a warning of the SDK's.
func TestChecksumsOfALocalServerAreNotWarnedOf(t *testing.T) {
	t.Parallel()
	srv := dynamotest.Start(dynamotest.Config{})
	t.Cleanup(srv.Close)
	var said atomic.Int32
	client := awstest.DynamoDB(t, srv, func(o *sdk.Options) {
		o.HTTPClient = wrongChecksums{o.HTTPClient}
		o.Logger = logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			said.Add(1)
			t.Logf(format, v...)
		})
	})
	store := dynamodb.New(dynamodb.Config{Client: client, Table: table})
	require.NoError(t, store.Init(t.Context()))
	require.NoError(t, store.Create(t.Context(), lease("shardId-1")))
	_, err := store.List(t.Context())
	require.NoError(t, err)
	require.Zero(t, said.Load())
}
