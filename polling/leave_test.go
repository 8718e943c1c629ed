package polling_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/polling"
)

// TestLeavingGivesTheMemoryBack: a shard that is handed over leaves the memory of its batch and of
// what was read ahead to the others, however its loop is left.
func TestLeavingGivesTheMemoryBack(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	for name, leave := range map[string]func(t *testing.T, f *polling.Fetcher){
		"break": func(t *testing.T, f *polling.Fetcher) {
			for _, err := range f.Batches(t.Context(), shard0, kcl.Position{}) {
				require.NoError(t, err)
				time.Sleep(5 * time.Second) // what is read ahead has come
				break
			}
		},
		"panic": func(t *testing.T, f *polling.Fetcher) {
			defer func() { _ = recover() }()
			for range f.Batches(t.Context(), shard0, kcl.Position{}) {
				time.Sleep(5 * time.Second)
				panic("of the loop body")
			}
		},
		"context": func(t *testing.T, f *polling.Fetcher) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			for _, err := range f.Batches(ctx, shard0, kcl.Position{}) {
				if err != nil {
					require.ErrorIs(t, err, stop)
					break
				}
				time.Sleep(5 * time.Second)
				cancel(stop)
			}
		},
	} {
		for _, ahead := range []int{-1, 0} {
			t.Run(name+map[int]string{-1: "", 0: ", read ahead"}[ahead], func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := start(t, 1)
					r.put(0, 80, 50_000, shard0)
					memory := polling.NewMemory(20 << 20)
					for range 3 {
						leave(t, r.fetcher(func(c *polling.Config) { c.Memory, c.PrefetchBytes, c.MaxRecords = memory, ahead, 10 }))
					}
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					f := r.fetcher(func(c *polling.Config) { c.Memory = memory }) // whose answer needs all of it
					for b, err := range f.Batches(ctx, shard0, kcl.Position{}) {
						require.NoError(t, err, "the next owner waits for memory")
						require.NotEmpty(t, b.Records)
						break
					}
				})
			})
		}
	}
}

// deafClient heeds no context: its calls end when they are answered.
type deafClient struct {
	next http.RoundTripper
	busy atomic.Int32 // calls of GetRecords under way
}

func (d *deafClient) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".GetRecords") {
		d.busy.Add(1)
		defer d.busy.Add(-1)
	}
	return d.next.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
}

// TestLeavingJoinsWhatReadsAhead: when the loop is over, nothing of it runs on: the next owner of
// the shard reads alone.
func TestLeavingJoinsWhatReadsAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 100, 10, shard0)
		r.srv.Inject(
			kinesistest.Fault{Operation: "GetRecords", Do: []kinesistest.Action{kinesistest.DelayAnswer(3 * time.Second)}})
		o := r.client.Options()
		deaf := &deafClient{next: o.HTTPClient.(*http.Client).Transport}
		o.HTTPClient = &http.Client{Transport: deaf}
		f := r.fetcher(func(c *polling.Config) { c.MaxRecords, c.Client = 10, kinesis.New(o) })
		for _, err := range f.Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			time.Sleep(time.Second)
			require.Equal(t, int32(1), deaf.busy.Load(), "else the test shows nothing")
			break
		}
		require.Zero(t, deaf.busy.Load())
	})
}
