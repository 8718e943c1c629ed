package kinesistest

import (
	"cmp"
	"context"
	"net/http"
	"time"
)

// SubscribeToShard: an event stream of one shard for one consumer.
//
//   - One call per second for each consumer and shard, else LimitExceededException.
//   - Within five seconds of a call that succeeded: ResourceInUseException, also when the
//     subscription has ended. After that a call takes over: the older subscription ends with
//     ResourceInUseException in its stream.
//   - The consumer must be ACTIVE; errors of the call are an ordinary answer with status 400.
//   - initial-response comes at once, an event as soon as there are records, an empty event after
//     five seconds without any. Every frame is flushed.
//   - ContinuationSequenceNumber is the position after the event; AFTER_SEQUENCE_NUMBER goes on
//     from there. It moves on in empty events too.
//   - MillisBehindLatest is the age of the oldest record that was not yet sent, 0 at the tip.
//   - A closed shard ends with one event without records. Its ContinuationSequenceNumber is null,
//     and its ChildShards name the children, each with all its parents. Then the stream ends.
//   - After five minutes the stream ends between two frames, without an error.
//   - The service sends 2 MiB per second at most.
//   - When the consumer or the stream is deleted, the stream ends with ResourceNotFoundException.

var subscribeOperation = operation{
	name:   "SubscribeToShard",
	input:  func() input { return new(subscribeToShardInput) },
	stream: serveSubscription,
}

type subscribeToShardInput struct {
	ConsumerARN      string            `json:"ConsumerARN"`
	ShardID          string            `json:"ShardId"`
	StartingPosition *startingPosition `json:"StartingPosition"`
	DryRun           bool              `json:"DryRun"`
}

func (in *subscribeToShardInput) resource() resource {
	return resource{consumerARN: in.ConsumerARN, shard: in.ShardID}
}

// subscribeToShardEvent is the payload of an event.
type subscribeToShardEvent struct {
	Records                    []record     `json:"Records"`
	ContinuationSequenceNumber *string      `json:"ContinuationSequenceNumber"`
	MillisBehindLatest         int64        `json:"MillisBehindLatest"`
	ChildShards                []childShard `json:"ChildShards,omitempty"`
}

// subscriptionState is the state of a shard for a consumer. The backend's mutex guards it.
type subscriptionState struct {
	calls     bucket
	success   time.Time // of the last call that succeeded; zero before
	heldUntil time.Time // set by a fault: until then an ended subscription counts as running
	current   *subscription
}

// subscription is one open stream. Only from and sent change. The goroutine that serves it changes
// them, with the backend's mutex held.
type subscription struct {
	consumer *consumer
	shard    *shard
	state    *subscriptionState
	ends     time.Time     // when its five minutes are over
	replaced chan struct{} // closed when another has taken over

	from uint64 // index of the next record to send
	hide bool   // by a fault: the last event has a continuation
	sent bucket
}

// subscribe checks a call and makes its subscription.
func (b *backend) subscribe(in *subscribeToShardInput) (*subscription, error) {
	switch {
	case in.ConsumerARN == "":
		return nil, missing("consumerARN")
	case in.ShardID == "":
		return nil, missing("shardId")
	case in.StartingPosition == nil:
		return nil, missing("startingPosition")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	c, err := b.findConsumerLocked(consumerRef{ConsumerARN: in.ConsumerARN})
	if err != nil {
		return nil, err
	}
	st := c.stream
	if !st.usable() {
		return nil, b.noStream(st.name)
	}
	st.expireLocked(now)
	sh, err := b.findShardLocked(st, in.ShardID)
	if err != nil {
		return nil, err
	}
	if c.status != statusActive {
		return nil, errf(codeResourceInUse, "Consumer %s is not ACTIVE, instead in state %s.", c.arn, c.status)
	}
	state := c.shards[sh.id]
	if state == nil {
		state = &subscriptionState{}
		c.shards[sh.id] = state
	}
	if !b.cfg.DisableLimits && !state.calls.take(now, 1, 1, 1) {
		return nil, errf(codeLimitExceeded, "Rate exceeded for consumer %s and shard %s.", c.arn, sh.id)
	}
	if now.Before(state.heldUntil) || (!state.success.IsZero() && now.Sub(state.success) < subscriptionHold) {
		return nil, errf(codeResourceInUse, "Another active subscription exists for consumer %s and shard %s.", c.arn, sh.id)
	}
	from, err := b.resolveLocked(now, sh, *in.StartingPosition, "SubscribeToShard")
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	if state.current != nil {
		close(state.current.replaced)
	}
	sub := &subscription{
		consumer: c, shard: sh, state: state, from: from, ends: now.Add(subscriptionLife), replaced: make(chan struct{}),
	}
	state.success, state.current = now, sub
	b.subs++
	return sub, nil
}

// unsubscribe forgets a subscription that has ended.
func (b *backend) unsubscribe(sub *subscription, hold time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs--
	if sub.state.current == sub {
		sub.state.current = nil
		sub.state.heldUntil = time.Now().Add(hold)
	}
}

// serveSubscription answers SubscribeToShard.
func serveSubscription(s *Server, w http.ResponseWriter, r *http.Request, c codec, in input, v verdict) error {
	started := time.Now()
	sub, err := s.backend.subscribe(in.(*subscribeToShardInput))
	if err == nil {
		sub.hide = v.hidesEnd
		defer func() { s.backend.unsubscribe(sub, v.hold) }()
	}
	if v.after(r.Context()) != nil {
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentTypeEventStream)
	settle(w, r, started)
	w.WriteHeader(http.StatusOK)
	direct := &flushWriter{w: w, flusher: http.NewResponseController(w)}
	if err := direct.flusher.Flush(); err != nil {
		return nil // an error means that the client has gone away
	}
	out := s.faults.stream(v.call, direct)
	if out.write(initialResponseFrame(c)) == nil {
		s.backend.follow(r.Context(), sub, c, out)
	}
	return nil
}

// flushWriter is the frameWriter without faults.
type flushWriter struct {
	w       http.ResponseWriter
	flusher *http.ResponseController
}

func (f *flushWriter) write(frame []byte) error {
	if _, err := f.w.Write(frame); err != nil {
		return err
	}
	return f.flusher.Flush()
}

// nextStep is the next thing that a subscription does: it sends an event, or waits for a change or
// for some time.
type nextStep struct {
	event   *subscribeToShardEvent
	last    bool
	changed <-chan struct{}
	pause   time.Duration // until the service's throughput lets the next records through
}

// nextLocked decides what comes next and moves the subscription past the event it returns.
func (sub *subscription) nextLocked(now time.Time, idle, limits bool) nextStep {
	sh := sub.shard
	sh.expireLocked(sh.stream.horizon(now))
	records, next := sh.readLocked(sub.from, maxEventRecords, maxEventBytes)
	switch {
	case len(records) > 0:
		size := 0
		for i := range records {
			size += records[i].size()
		}
		if limits {
			if pause := sub.sent.wait(now, size, shardReadBytes, shardReadBytes); pause > 0 {
				return nextStep{pause: pause}
			}
			sub.sent.charge(now, size, shardReadBytes)
		}
		sub.from = next
		return nextStep{event: &subscribeToShardEvent{
			Records:                    records,
			ContinuationSequenceNumber: &records[len(records)-1].SequenceNumber,
			MillisBehindLatest:         sh.behindLocked(next, now),
		}}
	case !sh.open():
		end := &subscribeToShardEvent{Records: []record{}, ChildShards: sh.childrenLocked()}
		if sub.hide {
			position := sh.positionLocked(next, now)
			end.ContinuationSequenceNumber = &position
		}
		return nextStep{event: end, last: true}
	case idle:
		position := sh.positionLocked(next, now)
		return nextStep{event: &subscribeToShardEvent{Records: []record{}, ContinuationSequenceNumber: &position}}
	default:
		return nextStep{changed: sh.changedLocked()}
	}
}

// positionLocked is a sequence number for the place before index next, at the tip. It is more than
// that of the record before and less than that of the record after, and grows with time.
func (sh *shard) positionLocked(next uint64, now time.Time) string {
	if before := next - 1; before >= sh.base {
		if arrived := sh.records[before-sh.base].ApproximateArrivalTimestamp.Time; seconds(now) <= seconds(arrived) {
			now = arrived.Add(time.Second)
		}
	}
	return sh.sequence(next-1, now)
}

// follow sends events until the subscription ends. It waits only for channels, and holds no lock
// meanwhile.
func (b *backend) follow(ctx context.Context, sub *subscription, c codec, out frameWriter) {
	end := time.NewTimer(time.Until(sub.ends))
	defer end.Stop()
	timer := time.NewTimer(idleEvent)
	defer timer.Stop()
	idleAt := time.Now().Add(idleEvent)
	w := newEventWriter(c, out)
	for {
		b.mu.Lock()
		now := time.Now()
		next := sub.nextLocked(now, !now.Before(idleAt), !b.cfg.DisableLimits)
		b.mu.Unlock()

		if next.event != nil {
			if sub.ended(ctx, now, c, out) || w.write(next.event) != nil || next.last {
				return
			}
			idleAt = time.Now().Add(idleEvent)
			continue
		}
		timer.Reset(cmp.Or(next.pause, max(1, idleAt.Sub(now))))
		select {
		case <-next.changed:
			timer.Reset(b.cfg.EventDelay)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		case <-timer.C:
		case <-end.C:
		case <-sub.replaced:
		case <-sub.consumer.gone:
		case <-sub.consumer.stream.gone:
		case <-ctx.Done():
		}
		if sub.ended(ctx, time.Now(), c, out) {
			return
		}
	}
}

// ended tells whether the subscription is over. If an error ended it, ended sends the error to the
// client.
func (sub *subscription) ended(ctx context.Context, now time.Time, c codec, out frameWriter) bool {
	if ctx.Err() != nil || !now.Before(sub.ends) {
		return true
	}
	st := sub.consumer.stream
	select {
	case <-sub.replaced:
		_ = out.write(
			exceptionFrame(codeResourceInUse,
				"Another subscription for consumer "+sub.consumer.arn+" and shard "+sub.shard.id+" has taken over.", c),
		)
	case <-st.gone:
		_ = out.write(exceptionFrame(codeResourceNotFound, "Stream "+st.name+" not found.", c))
	case <-sub.consumer.gone:
		_ = out.write(exceptionFrame(codeResourceNotFound, "Consumer "+sub.consumer.arn+" not found.", c))
	default:
		return false
	}
	return true
}
