package shardread_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/shardread"
)

// answering is an HTTP client that gives one answer.
type answering struct {
	status int
	header http.Header
	body   []byte
}

func (a *answering) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)),
		ContentLength: int64(len(a.body)), Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// FuzzClassify gives the SDK any answer. Its error gets an action, a code of the list, and a text
// that names the call. The distinctions agree with each other.
func FuzzClassify(f *testing.F) {
	f.Add(400, "ResourceNotFoundException", []byte(`{"__type":"ResourceNotFoundException","message":"no"}`))
	f.Add(400, "", []byte(`{"__type":"com.amazonaws.kinesis#LimitExceededException"}`))
	f.Add(403, "AccessDeniedException:http://x", []byte(`{"Message":"Signature expired: now earlier"}`))
	f.Add(502, "", []byte(`<html>`))
	f.Add(200, "", []byte(`{"Shards":[{"ShardId":1}]}`))
	f.Add(200, "", []byte("\x00"))
	f.Add(429, "InvalidSignatureException", []byte(`{"message":"Signature not yet current"}`))
	client := &answering{}
	api := kinesis.New(kinesis.Options{
		Region: "us-east-1", HTTPClient: client, Retryer: aws.NopRetryer{}, Credentials: aws.AnonymousCredentials{},
		BaseEndpoint: aws.String("http://kinesis.test"),
	})
	codes := map[string]bool{}
	f.Fuzz(func(t *testing.T, status int, code string, body []byte) {
		*client = answering{status: 200 + int(uint(status)%400), header: http.Header{}, body: body}
		if code != "" {
			client.header.Set("X-Amzn-ErrorType", code)
		}
		_, err := api.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("orders")})
		if err == nil {
			return
		}
		if codes[awserr.Code(err)] = true; len(codes) > 40 {
			t.Fatalf("the codes have no bound: %v", codes)
		}
		action := shardread.Classify(err)
		explained := awserr.Explain(err, "kinesis:ListShards", "orders")
		switch {
		case action.String() == "" || !strings.Contains(explained.Error(), "kinesis:ListShards"):
			t.Fatalf("%v: %v", action, explained)
		case errors.Is(explained, kcl.ErrAccessDenied) != awserr.Denied(err):
			t.Fatalf("refused: %v", explained)
		case awserr.Denied(err) && (awserr.Throttled(err) || awserr.Skewed(err) || awserr.KeyUnusable(err)):
			t.Fatalf("the distinctions contradict each other: %v", err)
		case client.status >= 500 && awserr.Foreign(err):
			t.Fatalf("a failure of the service counts as another server: %v", err)
		}
	})
}
