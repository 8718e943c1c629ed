package polling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/shardread"
)

func code(c string) error { return &smithy.GenericAPIError{Code: c, Message: "m"} }

// TestP15Classify covers every error that the SDK models for reads, codes that it does not model,
// and what the transport reports.
func TestP15Classify(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want shardread.Action
	}{
		{&types.ExpiredIteratorException{}, shardread.Renew},
		{&types.InvalidArgumentException{}, shardread.Renew},
		{&types.ProvisionedThroughputExceededException{}, shardread.Throttle},
		{&types.LimitExceededException{}, shardread.Throttle},
		{&types.KMSThrottlingException{}, shardread.Throttle},
		{code("ThrottlingException"), shardread.Throttle},
		{code("RequestLimitExceeded"), shardread.Throttle},
		{&types.ResourceNotFoundException{}, shardread.Lookup},
		{&types.KMSAccessDeniedException{}, shardread.Slow},
		{&types.KMSDisabledException{}, shardread.Slow},
		{&types.KMSInvalidStateException{}, shardread.Slow},
		{&types.KMSNotFoundException{}, shardread.Slow},
		{&types.KMSOptInRequired{}, shardread.Slow},
		{&types.AccessDeniedException{}, shardread.Denied},
		{code("UnrecognizedClientException"), shardread.Denied},
		{code("InvalidSignatureException"), shardread.Denied},
		{&types.ValidationException{}, shardread.Stop},
		{code("UnknownOperationException"), shardread.Stop},
		{code("SerializationException"), shardread.Stop},
		{&types.InternalFailureException{}, shardread.Retry},
		{&types.ResourceInUseException{}, shardread.Retry},
		{code("ServiceUnavailable"), shardread.Retry},
		{code("ExpiredTokenException"), shardread.Retry}, // the provider of the credentials brings new ones
		{code("SomethingNew"), shardread.Retry},
		{context.DeadlineExceeded, shardread.Retry},
		{io.ErrUnexpectedEOF, shardread.Retry},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, shardread.Retry},
		{&smithy.DeserializationError{Err: errors.New("bad JSON")}, shardread.Retry},
		{&smithy.CanceledError{Err: context.Canceled}, shardread.Retry},
		{errNoChildren, shardread.Retry},
	} {
		require.Equal(t, test.want, classify(test.err), "%T %v", test.err, test.err)
		require.Equal(t, test.want, classify(fmt.Errorf("operation error Kinesis: GetRecords, %w", test.err)), "wrapped %T",
			test.err)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	at := begin.Add
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		bytes int
		idle  time.Duration
		took  time.Duration // by the call
		now   time.Duration // when asked
		want  time.Duration
	}{
		"floor":               {took: 10 * ms, now: 10 * ms, want: 190 * ms},
		"floor passed":        {took: 300 * ms, now: 300 * ms, want: 0},
		"idle":                {idle: time.Second, took: 10 * ms, now: 10 * ms, want: 990 * ms},
		"idle after work":     {idle: time.Second, took: 10 * ms, now: 600 * ms, want: 400 * ms},
		"idle below floor":    {idle: 50 * ms, took: 10 * ms, now: 10 * ms, want: 190 * ms},
		"one MiB":             {bytes: 1 << 20, took: 100 * ms, now: 100 * ms, want: 500 * ms},
		"ten MiB":             {bytes: 10 << 20, took: 100 * ms, now: 100 * ms, want: 5 * time.Second},
		"ten MiB, slow work":  {bytes: 10 << 20, took: 100 * ms, now: 4 * time.Second, want: 1100 * ms},
		"large single record": {bytes: 10<<20 + 256, took: 0, now: 0, want: 5*time.Second + 122070*time.Nanosecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p pace
			require.Zero(t, p.wait(begin), "the first call need not wait")
			p.sent(begin)
			require.Equal(t, callFloor, p.wait(begin), "a call that fails counts as well")
			p.answered(begin, at(test.took), test.bytes, false, test.idle > 0, test.idle)
			require.Equal(t, test.want, p.wait(at(test.now)))
		})
	}
}

// A busy tip is asked as often as the service allows, a quiet one as rarely as IdleInterval says.
func TestPaceAtTheTip(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Now()
	rest := func(records, tip bool) time.Duration {
		p.answered(now, now, 0, records, tip, time.Second)
		return p.wait(now)
	}
	const ms = time.Millisecond
	require.Equal(t, time.Second, rest(false, true), "nothing is known yet")
	require.Equal(t, 500*ms, rest(true, true))
	require.Equal(t, 250*ms, rest(true, true))
	require.Equal(t, 200*ms, rest(true, true))
	require.Equal(t, 200*ms, rest(true, true))
	require.Equal(t, 400*ms, rest(false, true))
	require.Equal(t, 800*ms, rest(false, true))
	require.Equal(t, time.Second, rest(false, true))
	require.Equal(t, time.Second, rest(false, true))
	require.Equal(t, 200*ms, rest(false, false), "behind the tip an empty answer is no reason to rest")
	require.Equal(t, 200*ms, rest(true, true), "a shard that was behind is busy")
}

// The part that a reader claims falls when others want theirs, and grows again.
func TestPaceShare(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Now()
	require.InDelta(t, 1, p.share(now), 0)
	p.refused(now)
	require.InDelta(t, 0.5, p.share(now), 1e-9)
	p.sent(now)
	require.Equal(t, 400*time.Millisecond, p.wait(now))
	p.answered(now, now, 2<<20, true, false, time.Second)
	require.Equal(t, 2*time.Second, p.wait(now))
	require.InDelta(t, 0.75, p.share(now.Add(15*time.Second)), 1e-9)
	require.InDelta(t, 1, p.share(now.Add(31*time.Second)), 0)
	for range 20 {
		p.refused(now)
	}
	require.InDelta(t, leastShare, p.share(now), 0)
	p.sent(now)
	require.Equal(t, time.Second, p.wait(now))
}
