package integration

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"
	"github.com/stretchr/testify/require"
)

// initialResponse puts an initial-response message in front of the event streams that
// SubscribeToShard answers. The protocol demands it, the AWS SDK for Go refuses a stream
// without it, and kinesis-local does not send it.
type initialResponse struct{ next http.RoundTripper }

func (i initialResponse) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := i.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK ||
		!strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".SubscribeToShard") {
		return resp, err
	}
	message, err := initialResponseMessage()
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(message), resp.Body), resp.Body}
	resp.ContentLength = -1
	resp.Header.Del("Content-Length")
	return resp, nil
}

func initialResponseMessage() ([]byte, error) {
	var headers eventstream.Headers
	headers.Set(eventstreamapi.MessageTypeHeader, eventstream.StringValue(eventstreamapi.EventMessageType))
	headers.Set(eventstreamapi.EventTypeHeader, eventstream.StringValue("initial-response"))
	headers.Set(eventstreamapi.ContentTypeHeader, eventstream.StringValue("application/x-amz-json-1.1"))
	var out bytes.Buffer
	err := eventstream.NewEncoder().Encode(&out, eventstream.Message{Headers: headers, Payload: []byte("{}")})
	return out.Bytes(), err
}

func TestInitialResponseComesFirst(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "rest")
	}))
	defer server.Close()
	client := &http.Client{Transport: initialResponse{http.DefaultTransport}}
	get := func(target string) []byte {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, http.NoBody)
		require.NoError(t, err)
		req.Header.Set("X-Amz-Target", target)
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer func() { require.NoError(t, resp.Body.Close()) }()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return body
	}

	require.Equal(t, "rest", string(get("Kinesis_20131202.GetRecords")))
	body := bytes.NewReader(get("Kinesis_20131202.SubscribeToShard"))
	message, err := eventstream.NewDecoder().Decode(body, nil)
	require.NoError(t, err)
	require.Equal(t, "initial-response", message.Headers.Get(":event-type").String())
	rest, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, "rest", string(rest))
}
