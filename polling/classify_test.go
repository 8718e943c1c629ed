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
)

func code(c string) error { return &smithy.GenericAPIError{Code: c, Message: "m"} }

// TestP15Classify covers every error that the SDK models for reads, codes that it does not model, and what the transport reports.
func TestP15Classify(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want action
	}{
		{&types.ExpiredIteratorException{}, actRenew},
		{&types.InvalidArgumentException{}, actRenew},
		{&types.ProvisionedThroughputExceededException{}, actThrottle},
		{&types.LimitExceededException{}, actThrottle},
		{&types.KMSThrottlingException{}, actThrottle},
		{code("ThrottlingException"), actThrottle},
		{code("RequestLimitExceeded"), actThrottle},
		{&types.ResourceNotFoundException{}, actLookup},
		{&types.KMSAccessDeniedException{}, actSlow},
		{&types.KMSDisabledException{}, actSlow},
		{&types.KMSInvalidStateException{}, actSlow},
		{&types.KMSNotFoundException{}, actSlow},
		{&types.KMSOptInRequired{}, actSlow},
		{&types.AccessDeniedException{}, actDenied},
		{code("UnrecognizedClientException"), actDenied},
		{code("InvalidSignatureException"), actDenied},
		{&types.ValidationException{}, actStop},
		{code("UnknownOperationException"), actStop},
		{code("SerializationException"), actStop},
		{&types.InternalFailureException{}, actRetry},
		{&types.ResourceInUseException{}, actRetry},
		{code("ServiceUnavailable"), actRetry},
		{code("ExpiredTokenException"), actRetry}, // the provider of the credentials brings new ones
		{code("SomethingNew"), actRetry},
		{context.DeadlineExceeded, actRetry},
		{io.ErrUnexpectedEOF, actRetry},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, actRetry},
		{&smithy.DeserializationError{Err: errors.New("bad JSON")}, actRetry},
		{&smithy.CanceledError{Err: context.Canceled}, actRetry},
		{errNoChildren, actRetry},
	} {
		require.Equal(t, test.want, classify(test.err), "%T %v", test.err, test.err)
		require.Equal(t, test.want, classify(fmt.Errorf("operation error Kinesis: GetRecords, %w", test.err)), "wrapped %T", test.err)
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
