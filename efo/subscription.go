package efo

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/fromsdk"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/shardend"
	"github.com/kinesis-go/kcl/internal/shardread"
)

// subscription opens one subscription and follows it to its end. However it is
// left, by a panic of the loop body too, the stream is closed.
func (r *reader) subscription(ctx context.Context) end {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := line.NewSilence(r.CallTimeout, func() { cancel(errNoAnswer) })
	defer silence.Stop()
	stream, err := r.open(silence.In(ctx), silence)
	if err != nil {
		return end{err: err}
	}
	defer stream.Close() //nolint:errcheck // it repeats what Err said
	r.Metrics.SubscriptionOpened()
	r.Observer.Opened()
	e := r.follow(ctx, stream, silence)
	if e.reason == ReasonSilence {
		cancel(errSilence) // the connection is told as well
	}
	return e
}

// open calls SubscribeToShard and waits until it is accepted, for CallTimeout
// at most. ctx bounds the life of the stream, so the deadline of the call
// cannot be ctx's own: silence ends ctx instead.
func (r *reader) open(ctx context.Context, silence *line.Silence) (*kinesis.SubscribeToShardEventStream, error) {
	out, err := r.Client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN:      &r.ConsumerARN,
		ShardId:          &r.shardID,
		StartingPosition: shardread.StartingPosition(r.next),
	}, r.options)
	silence.Stop()
	r.sub.last = time.Now()
	if context.Cause(ctx) == errNoAnswer { //nolint:errorlint // identity: it is our own timer
		if err == nil {
			_ = out.GetStream().Close()
		}
		return nil, errNoAnswer
	}
	if err != nil {
		return nil, err
	}
	r.next = shardread.Anchor(r.next, out.ResultMetadata) // the position until the first event comes
	return out.GetStream(), nil
}

// options are those of every subscribe: no retries below ours, and a protocol
// value of its own, because the codec inside keeps state per event and a shared
// one is written by all streams of a client at once.
func (r *reader) options(o *kinesis.Options) {
	o.Retryer = aws.NopRetryer{}
	o.Protocol = awsjson.New11(schemas.Kinesis_20131202)
	o.HTTPClient = r.HTTPClient
}

// asking are the options of every other call.
func (r *reader) asking(o *kinesis.Options) { o.HTTPClient = r.sub.ask }

// follow delivers events until the subscription ends.
func (r *reader) follow(ctx context.Context, stream *kinesis.SubscribeToShardEventStream, arriving *line.Silence) (e end) {
	opened := time.Now()
	defer func() { e.lived = time.Since(opened) }()
	silence := time.NewTimer(r.SilenceTimeout)
	defer silence.Stop()
	idle := time.NewTimer(r.idleFor)
	defer idle.Stop()
	var renew <-chan time.Time
	if !r.renewed {
		// Subscriptions that were opened together end together, five minutes
		// later and for ever after. One early renewal at random spreads them, at
		// the start and after every break.
		t := time.NewTimer(lifetime/5 + rand.N(lifetime*3/4))
		defer t.Stop()
		renew = t.C
	}
	events, hinted := stream.Events(), false
	for {
		var ev types.SubscribeToShardEventStream
		var open bool
		select {
		case ev, open = <-events:
		case <-silence.C:
			// After a pause of the whole process both are due: prefer the event.
			select {
			case ev, open = <-events:
			default:
				if left := time.Until(arriving.Last().Add(r.SilenceTimeout)); left > 0 {
					// A large event is on its way over a slow line.
					r.Observer.Received()
					silence.Reset(left)
					continue
				}
				e.reason, e.err = ReasonSilence, errSilence
				return e
			}
		case <-renew:
			renew = nil
			r.renewed = true
			if r.next.Kind == kcl.AfterSequenceNumber {
				e.reason = ReasonRenewed
				return e
			}
			continue
		case <-idle.C:
			if !hinted {
				r.idleFor = shardend.Rarer(r.idleFor)
			}
			hinted = false
			if l, _ := r.list(ctx); l.MayHaveEnded(false) {
				e.reason, e.check = ReasonCheck, true
				return e
			}
			idle.Reset(r.idleFor + rand.N(r.idleFor/2))
			continue
		case <-ctx.Done():
			e.reason = ReasonCanceled
			return e
		}
		if !open {
			e = r.ended(ctx, stream, opened, e)
			e.check = e.check || hinted
			return e
		}
		if ctx.Err() != nil {
			// An event and the end of ctx were there together. Nothing is
			// delivered after the cause, which may be a lost lease.
			e.reason = ReasonCanceled
			return e
		}
		r.Observer.Received()
		e.events++
		member, ok := ev.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
		if !ok {
			r.unknownEvent(ctx, ev)
			silence.Reset(r.SilenceTimeout)
			continue
		}
		e.records += len(member.Value.Records)
		if over := r.event(&member.Value, &e); over {
			return e
		}
		if len(member.Value.Records) > 0 {
			hinted = false
			idle.Reset(r.idleFor)
		}
		if len(member.Value.ChildShards) > 0 && !hinted {
			// There are children, and this stream goes on: it may never say that it has ended.
			hinted = true
			idle.Reset(hintCheck)
		}
		// From now on we wait for the service: what the loop body took does not count.
		silence.Reset(r.SilenceTimeout)
	}
}

// event delivers one event. It returns true when the subscription is over.
func (r *reader) event(ev *types.SubscribeToShardEvent, e *end) bool {
	records, size, _, err := fromsdk.Records(ev.Records)
	if err != nil {
		e.reason, e.err = awserr.Code(err), err
		return true
	}
	b := fromsdk.Batch(records, r.next, ev.MillisBehindLatest)
	if isPosition(ev.ContinuationSequenceNumber) {
		// An event with a continuation is not the last one, even if it names children.
		b.Next = kcl.After(*ev.ContinuationSequenceNumber)
	}
	if ev.ContinuationSequenceNumber == nil {
		children := fromsdk.Children(ev.ChildShards, r.shardID)
		e.tip = shardend.AtTip(ev.MillisBehindLatest)
		if children != nil && e.tip && (len(records) > 0 || r.behind == 0) {
			b.Next, b.End = kcl.Position{}, &kcl.ShardEnd{Children: children}
			e.reason = ReasonShardEnd
			r.deliver(b, size)
			return true
		}
		// Something is missing, or says that there is more: it is asked again.
		e.reason, e.err, e.closed, e.children = ReasonClosed, errDoubtful, true, children
		if !r.deliver(b, size) {
			e.reason = ReasonStopped
		}
		return true
	}
	if !r.deliver(b, size) {
		e.reason = ReasonStopped
		return true
	}
	return false
}

// ended says why the channel of events was closed. The cause comes first, then
// the stream's error; none of either says nothing at all.
func (r *reader) ended(ctx context.Context, stream *kinesis.SubscribeToShardEventStream, opened time.Time, e end) end {
	err := stream.Err()
	switch {
	case ctx.Err() != nil:
		e.reason = ReasonCanceled
	case err != nil:
		e.reason, e.err = awserr.Code(err), err
		if classify(err) == shardread.InUse {
			e.reason = ReasonTakeover
		}
	case time.Since(opened) >= almost:
		e.reason = ReasonExpired
		e.check = e.records == 0
	default:
		e.reason = ReasonClosed
		e.check = e.records == 0
	}
	return e
}

// unknownEvent is an event of a kind that this version does not know. It moves nothing.
func (r *reader) unknownEvent(ctx context.Context, ev types.SubscribeToShardEventStream) {
	r.Metrics.UnknownEvent()
	if r.unknown {
		return
	}
	r.unknown = true
	tag := "?"
	if u, ok := ev.(*types.UnknownUnionMember); ok {
		tag = u.Tag
	}
	r.log.LogAttrs(ctx, slog.LevelWarn, "unknown event ignored", slog.String("event", tag))
}

// isPosition tells whether a continuation can be gone on from. Some servers
// send "0" until the shard has had a record, and fail when asked to go on after it.
func isPosition(continuation *string) bool {
	return fromsdk.IsNumber(continuation) && strings.Trim(*continuation, "0") != ""
}
