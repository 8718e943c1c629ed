package scheduler_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/memnet"
	"github.com/kinesis-go/kcl/scheduler"
)

// The connections that carry the subscriptions do not outlive Run.
func TestStopClosesTheSubscriptionsConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		t.Cleanup(func() { _ = network.Close() })
		cfg := oneStream(3)
		cfg.Network = network
		r := newRig(t, cfg)
		client := awstest.Kinesis(t, r.srv, func(o *kinesis.Options) {
			o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
				tr.Proxy, tr.DialContext = nil, network.DialContext
			})
		})
		w := r.worker("a", func(c *scheduler.Config) { c.Kinesis, c.H2C = client, true }).start()
		r.put(keys(5)...)
		r.eventually(time.Minute, "all shards are read", func() bool { return r.owned() == 3 && r.audit.complete() })
		conns := network.Link("kinesis.test", "").Conns
		before := conns()
		require.NoError(t, w.stop())
		synctest.Wait()
		require.Equal(t, before-1, conns(), "the client's own stay for a while")
	})
}
