package scheduler_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/memnet"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// badConnections makes the connections that were open at a moment lead to a bad host for ever. The
// zero value has no bad connection.
type badConnections struct {
	mu  sync.Mutex      // guards bad
	bad map[string]bool // by the address of each connection seen so far
}

// harms tells whether a call on the connection must fail.
func (b *badConnections) harms(addr string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bad == nil {
		b.bad = map[string]bool{}
	}
	bad := b.bad[addr]
	b.bad[addr] = bad // a new connection is good
	return bad
}

// breakOld makes calls on the connections seen so far fail.
func (b *badConnections) breakOld() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for addr := range b.bad {
		b.bad[addr] = true
	}
}

// TestBadHostBehindOpenConnections: what answers on the open connections fails every call, or says
// nothing, or accepts subscriptions and then says nothing. New connections lead to a good host:
// reading goes on after some minutes.
func TestBadHostBehindOpenConnections(t *testing.T) {
	t.Parallel()
	for name, do := range testsize.Some(1, map[string]kinesistest.Action{
		"503":               kinesistest.Fail("ServiceUnavailable", "host is going away"),
		"silence":           kinesistest.Silence(),
		"silence of events": kinesistest.StallStream(kinesistest.AfterEvents(0)),
	}) {
		for _, client := range []string{"of the user", "of the SDK"} {
			t.Run(name+", client "+client, func(t *testing.T) {
				t.Parallel()
				modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
					cfg := oneStream(2)
					cfg.Network = memnet.New()
					t.Cleanup(func() { _ = cfg.Network.Close() })
					r := newRig(t, cfg)
					r.capture()
					w := r.worker("a", mode, func(c *scheduler.Config) {
						if client == "of the user" {
							return
						}
						o := c.Kinesis.Options()
						o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
							tr.Proxy, tr.DialContext = nil, cfg.Network.Host("a").DialContext
						})
						c.Kinesis, c.H2C = kinesis.New(o), true
					}).start()
					var conns badConnections
					r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
						if c.Client == "a" && conns.harms(c.RemoteAddr) {
							return &kinesistest.Fault{Do: []kinesistest.Action{do}}
						}
						return nil
					})
					r.produce(30, time.Second, keys(6))
					r.finished(time.Minute)
					conns.breakOld()
					r.produce(8, time.Minute, keys(6)) // subscriptions that go on end within five minutes
					r.finished(3 * time.Minute)
					require.NoError(t, w.Healthy())
					require.NoError(t, w.stop())
				})
			})
		}
	}
}

// TestBadHostOfTheLeaseTable: the same for DynamoDB. The worker keeps its leases.
func TestBadHostOfTheLeaseTable(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]dynamotest.Action{
		"503":     dynamotest.Fail("ServiceUnavailable", "host is going away"),
		"silence": dynamotest.Silence(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(2))
				r.capture()
				tables := dynamotest.Start(dynamotest.Config{})
				defer tables.Close()
				var conns badConnections
				tables.Inject(dynamotest.Fault{
					When: func(c dynamotest.Call) bool { return conns.harms(c.RemoteAddr) },
					Do:   []dynamotest.Action{do},
				})
				w := r.worker("a", func(c *scheduler.Config) {
					c.Leases = dynamodb.New(dynamodb.Config{Client: awstest.DynamoDB(t, tables), Table: "app"})
				}).start()
				r.produce(60, time.Second, keys(6))
				r.finished(time.Minute)
				conns.breakOld()
				r.produce(5, time.Minute, keys(6))
				r.finished(time.Minute)
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
			})
		})
	}
}
