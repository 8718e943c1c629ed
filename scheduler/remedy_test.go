package scheduler_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// TestWhatNoRetryCanMendEndsRunAtOnce: and the error says what to do.
func TestWhatNoRetryCanMendEndsRunAtOnce(t *testing.T) {
	t.Parallel()
	fail := kinesistest.Fail
	for name, test := range map[string]struct {
		client func(*kinesis.Options)
		do     kinesistest.Action
		want   []string
		not    string
	}{
		"no credentials": {client: func(o *kinesis.Options) {
			o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{}, errors.New("no EC2 IMDS role found")
			})
		}, want: []string{"check the client's Region, Credentials", "no EC2 IMDS role found"}},
		"empty credentials": {client: func(o *kinesis.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider("",
				"", "")
		}, want: []string{"check the client's Region, Credentials"}},
		"unknown token": {
			do: fail("UnrecognizedClientException",
				"The security token included in the request is invalid."),
			want: []string{"does not know the access key or the session token"}, not: "allow kinesis:",
		},
		"expired credentials": {
			do:   fail("ExpiredTokenException", "The security token included in the request is expired"),
			want: []string{"credentials have expired"}, not: "allow kinesis:",
		},
		"wrong secret": {
			do:   fail("InvalidSignatureException", "The request signature we calculated does not match"),
			want: []string{"check the secret access key"}, not: "allow kinesis:",
		},
		"wrong clock": {
			do: fail("InvalidSignatureException",
				"Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z"),
			want: []string{"clock of this host is wrong"}, not: "allow kinesis:",
		},
		"another service": {
			do:   fail("UnknownOperationException", ""),
			want: []string{"another server than this service answers", "BaseEndpoint"},
		},
		"another server": {
			do:   kinesistest.Answer(405, []byte("<Error><Code>MethodNotAllowed</Code></Error>")),
			want: []string{"another server than this service answers"},
		},
		"a page": {
			do:   kinesistest.Answer(200, []byte("<html>welcome")),
			want: []string{"another server than this service answers"},
		},
		"a missing right": {
			do:   fail("AccessDeniedException", "no"),
			want: []string{"allow kinesis:DescribeStreamSummary on stream orders"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				r.capture()
				if test.client == nil {
					r.srv.Inject(kinesistest.Fault{Operation: "DescribeStreamSummary", Do: []kinesistest.Action{test.do}})
				}
				began := time.Now()
				w := r.worker("a", func(c *scheduler.Config) {
					if test.client != nil {
						o := c.Kinesis.Options()
						test.client(&o)
						c.Kinesis = kinesis.New(o)
					}
				}).start()
				<-w.done
				require.Less(t, time.Since(began), 10*time.Second)
				for _, want := range test.want {
					require.ErrorContains(t, w.err, want)
				}
				if test.not != "" {
					require.NotContains(t, w.err.Error(), test.not)
				}
			})
		})
	}
}

// TestAnAnswerIsNoSilence: a stream that is being created and pages of a proxy are waited out, for
// longer than silence is.
func TestAnAnswerIsNoSilence(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]kinesistest.Action{
		"CREATING": kinesistest.Answer(200, []byte(`{"StreamDescriptionSummary":{"StreamStatus":"CREATING",`+
			`"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/orders","StreamName":"orders"}}`)),
		"HTML 503":  kinesistest.Answer(503, []byte("<html>come back later")),
		"empty 502": kinesistest.Answer(502, nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				r.capture()
				remove := r.srv.Inject(kinesistest.Fault{
					Operation: "DescribeStreamSummary", Client: "a",
					Do: []kinesistest.Action{do},
				})
				w := r.worker("a").start()
				time.Sleep(10 * time.Minute)
				require.ErrorContains(t, w.Healthy(), "describe stream")
				remove()
				r.put(keys(3)...)
				r.finished(time.Minute)
				require.NoError(t, w.stop())
			})
		})
	}
}

// TestOneStreamThatIsNotReadyKeepsNoOtherUnread: it is read once it is ready.
func TestOneStreamThatIsNotReadyKeepsNoOtherUnread(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]kinesistest.Action{
		"CREATING": kinesistest.Answer(200, []byte(`{"StreamDescriptionSummary":{"StreamStatus":"CREATING",`+
			`"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/bills","StreamName":"bills"}}`)),
		"500": kinesistest.Fail("InternalFailure", "for this stream alone"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := oneStream(1)
				cfg.Streams = append(cfg.Streams, kinesistest.StreamConfig{Name: "bills", Shards: 1})
				r := newRig(t, cfg)
				r.capture()
				remove := r.srv.Inject(kinesistest.Fault{
					Operation: "DescribeStreamSummary", Stream: "bills", Client: "a",
					Do: []kinesistest.Action{do},
				})
				w := r.worker("a", func(c *scheduler.Config) {
					c.Streams = []scheduler.StreamConfig{
						{Name: "bills"},
						{Name: streamName},
					}
				}).start()
				r.put(keys(3)...)
				r.finished(time.Minute)
				time.Sleep(5 * time.Minute)
				require.ErrorContains(t, w.Healthy(), "bills is not read yet")
				remove()
				r.putIn("bills", []string{"other"})
				r.finished(2 * time.Minute)
				require.NoError(t, w.stop())
			})
		})
	}
}

// TestThrottledLeaseTableSaysSoAtTheStart: whoever looks at a worker that does not come up is told
// the reason.
func TestThrottledLeaseTableSaysSoAtTheStart(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"DescribeTable", "CreateTable"} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				r.capture()
				tables := dynamotest.Start(dynamotest.Config{})
				defer tables.Close()
				remove := tables.Inject(dynamotest.Fault{
					Operation: operation,
					Do: []dynamotest.Action{dynamotest.Fail("ThrottlingException",
						"Rate of requests exceeds the allowed throughput.")},
				})
				w := r.worker("a", func(c *scheduler.Config) {
					c.Leases = dynamodb.New(dynamodb.Config{Client: awstest.DynamoDB(t, tables), Table: "app"})
				}).start()
				time.Sleep(time.Minute)
				require.ErrorContains(t, w.Healthy(), "prepare lease table")
				require.ErrorContains(t, w.Healthy(), "Rate of requests exceeds")
				remove()
				r.put(keys(3)...)
				r.finished(time.Minute)
				require.NoError(t, w.stop())
			})
		})
	}
}

// TestABodyThatDoesNotArriveIsNoDecodersFault: what is missing cannot be decoded, but the decoder
// is not what is stuck.
func TestABodyThatDoesNotArriveIsNoDecodersFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		r.capture()
		half := &halfBodies{next: r.srv.HTTPClientFrom("a").Transport}
		w := r.worker("a", func(c *scheduler.Config) {
			o := c.Kinesis.Options()
			o.HTTPClient = &http.Client{Transport: half}
			c.Kinesis, c.RetrievalMode = kinesis.New(o), scheduler.Polling
		}).start()
		r.put(keys(3)...)
		time.Sleep(5 * time.Minute)
		stall, ok := errors.AsType[*scheduler.StallError](w.Healthy())
		require.True(t, ok)
		require.Equal(t, scheduler.LayerStream, stall.Layer, "%v", stall)
		require.NoError(t, w.stop())
	})
}

// halfBodies lets only the first bytes of each answer of GetRecords through.
type halfBodies struct{ next http.RoundTripper }

func (h *halfBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := h.next.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetRecords") {
		resp.Body = &halfBody{ctx: r.Context(), ReadCloser: resp.Body}
	}
	return resp, err
}

type halfBody struct {
	io.ReadCloser
	ctx   context.Context //nolint:containedctx // of its request
	began bool
}

func (b *halfBody) Read(p []byte) (int, error) {
	if b.began {
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	b.began = true
	return b.ReadCloser.Read(p[:min(len(p), 10)])
}

// TestABlockedProcessorIsNotToldToCheckpoint: it cannot. Healthy says what is wrong.
func TestABlockedProcessorIsNotToldToCheckpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		log := r.capture()
		w := r.worker("a")
		w.do = func(ctx context.Context, _ *processor, _ kcl.ProcessRecordsInput) error {
			<-ctx.Done()
			return ctx.Err()
		}
		w.start()
		r.put(keys(3)...)
		time.Sleep(time.Hour)
		require.Zero(t, log.count("call Checkpoint"))
		require.ErrorContains(t, w.Healthy(), "stuck in the processor layer")
		_ = w.stop()
	})
}
