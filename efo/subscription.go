package efo

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/fromsdk"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/shardend"
	"github.com/kinesis-go/kcl/internal/shardread"
)

// subscribe opens one subscription and delivers its events to the end. It closes the stream also
// when the loop body panics.
func (r *reader) subscribe(ctx context.Context) ending {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := line.NewSilence(r.CallTimeout, func() { cancel(errNoAnswer) })
	defer silence.Stop()
	stream, err := r.open(line.WithCaller(silence.In(ctx), r.shardID), silence)
	if err != nil {
		return ending{err: err}
	}
	defer stream.Close() //nolint:errcheck // it repeats what Err said
	r.Metrics.SubscriptionOpened()
	r.Observer.Opened()
	e := r.follow(ctx, stream, silence)
	if e.reason == ReasonSilence {
		cancel(errSilence) // so that package line counts the silence against the connection
	}
	return e
}

// open calls SubscribeToShard and waits for the answer, for CallTimeout at most. The stream lives
// as long as ctx, so the deadline of the call cannot be a deadline of ctx: silence ends ctx.
func (r *reader) open(ctx context.Context, silence *line.Silence) (*kinesis.SubscribeToShardEventStream, error) {
	out, err := r.Client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN:      &r.ConsumerARN,
		ShardId:          &r.shardID,
		StartingPosition: shardread.StartingPosition(r.position),
	}, r.options)
	silence.Stop()
	r.sub.lastAnswer = time.Now()
	if context.Cause(ctx) == errNoAnswer { //nolint:errorlint // identity: the error of our own timer
		if err == nil {
			_ = out.GetStream().Close()
		}
		return nil, errNoAnswer
	}
	if err != nil {
		return nil, err
	}
	r.position = shardread.Anchor(r.position, out.ResultMetadata) // the position until the first event comes
	return out.GetStream(), nil
}

// options are those of SubscribeToShard. The reader itself tries again, so the SDK does not. Each
// subscription has a protocol value of its own: the codec inside keeps state for each event, and
// all streams of a client would write to a shared one.
func (r *reader) options(o *kinesis.Options) {
	o.Retryer = aws.NopRetryer{}
	o.Protocol = awsjson.New11(schemas.Kinesis_20131202)
	o.HTTPClient = r.HTTPClient
}

// renewTimer fires once, at random, in the last four fifths of a subscription. Subscriptions that
// were opened together would end together every five minutes; one early renewal of each spreads
// them. The timer is nil after that renewal.
func (r *reader) renewTimer() *time.Timer {
	if r.renewed {
		return nil
	}
	return time.NewTimer(lifetime/5 + chance.N(lifetime*3/4, "renew subscription", r.shardID))
}

// follow delivers events until the subscription ends.
func (r *reader) follow(
	ctx context.Context, stream *kinesis.SubscribeToShardEventStream, arriving *line.Silence,
) (e ending) {
	opened := time.Now()
	defer func() { e.lived = time.Since(opened) }()
	silence := time.NewTimer(r.SilenceTimeout)
	defer silence.Stop()
	idle := time.NewTimer(r.idleWait)
	defer idle.Stop()
	var renew <-chan time.Time
	if t := r.renewTimer(); t != nil {
		defer t.Stop()
		renew = t.C
	}
	events, hinted := stream.Events(), false
	var ev types.SubscribeToShardEventStream
	var open bool
	for {
		select {
		case ev, open = <-events:
		case <-silence.C:
			// After a pause of the whole process an event and the timer are due: take the event.
			select {
			case ev, open = <-events:
			default:
				if left := time.Until(arriving.Last().Add(r.SilenceTimeout)); left > 0 {
					// A large event is arriving over a slow line.
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
			if r.position.Kind == kcl.AfterSequenceNumber {
				e.reason = ReasonRenewed
				return e
			}
			continue
		case <-idle.C:
			closed := r.idled(ctx, hinted)
			hinted = false
			if closed {
				e.reason, e.checkEnd = ReasonCheck, true
				return e
			}
			idle.Reset(r.idleWait + chance.N(r.idleWait/2, "idle", r.shardID))
			continue
		case <-ctx.Done():
			e.reason = ReasonCanceled
			return e
		}
		if !open {
			e = r.streamEnded(ctx, stream, opened, e)
			e.checkEnd = e.checkEnd || hinted
			return e
		}
		if ctx.Err() != nil {
			// An event came together with the end of ctx: the lease may be lost.
			e.reason = ReasonCanceled
			return e
		}
		r.Observer.Received()
		e.events++
		member, ok := ev.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
		if !ok {
			r.reportUnknown(ctx, ev)
			silence.Reset(r.SilenceTimeout)
			continue
		}
		e.records += len(member.Value.Records)
		if over := r.deliverEvent(&member.Value, &e); over {
			return e
		}
		if len(member.Value.Records) > 0 {
			hinted = false
			idle.Reset(r.idleWait)
		}
		if len(member.Value.ChildShards) > 0 && !hinted {
			// The shard has children, but its stream goes on and may never say that it has ended.
			hinted = true
			idle.Reset(hintCheck)
		}
		// The time of the loop body does not count as silence of the service.
		silence.Reset(r.SilenceTimeout)
	}
}

// idled asks ListShards whether an idle shard is closed and has children. It asks more rarely from
// now on, unless an event has hinted at an end.
func (r *reader) idled(ctx context.Context, hinted bool) (closed bool) {
	if !hinted {
		r.idleWait = shardend.Rarer(r.idleWait)
	}
	l, _ := r.service.list(ctx)
	return l.MayHaveEnded(false)
}

// deliverEvent delivers one event. It returns true when the subscription is over.
func (r *reader) deliverEvent(ev *types.SubscribeToShardEvent, e *ending) bool {
	records, size, _, err := fromsdk.Records(ev.Records)
	if err != nil {
		e.reason, e.err = awserr.Code(err), err
		return true
	}
	b := fromsdk.Batch(records, r.position, ev.MillisBehindLatest)
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
		// No children are named, or records are left: react asks whether the shard has ended.
		e.reason, e.err, e.endSent, e.children = ReasonClosed, errDoubtful, true, children
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

// streamEnded says why the channel of events was closed. The cause of ctx decides first, then the
// stream's error. The end of a stream without an error says nothing about the shard.
func (r *reader) streamEnded(
	ctx context.Context, stream *kinesis.SubscribeToShardEventStream, opened time.Time, e ending,
) ending {
	err := stream.Err()
	switch {
	case ctx.Err() != nil:
		e.reason = ReasonCanceled
	case err != nil:
		e.reason, e.err = awserr.Code(err), err
		if classify(err) == shardread.InUse {
			e.reason = ReasonTakeover
		}
	case time.Since(opened) >= fullLife:
		e.reason = ReasonExpired
		e.checkEnd = e.records == 0
	default:
		e.reason = ReasonClosed
		e.checkEnd = e.records == 0
	}
	return e
}

// reportUnknown counts an event of a kind that this version does not know, and logs the first one.
func (r *reader) reportUnknown(ctx context.Context, ev types.SubscribeToShardEventStream) {
	r.Metrics.UnknownEvent()
	if r.unknownReported {
		return
	}
	r.unknownReported = true
	tag := "?"
	if u, ok := ev.(*types.UnknownUnionMember); ok {
		tag = u.Tag
	}
	r.log.LogAttrs(ctx, slog.LevelWarn, "unknown event ignored", slog.String("event", tag))
}

// isPosition tells whether reading can go on after a continuation. Some servers send "0" until the
// shard has had a record, and refuse to read on after "0".
func isPosition(continuation *string) bool {
	return fromsdk.IsNumber(continuation) && strings.Trim(*continuation, "0") != ""
}
