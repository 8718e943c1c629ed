package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/retry"
)

// errRegisterTimeout ends a registration that takes longer than FallbackAfter.
var errRegisterTimeout = errors.New("the registration of the stream consumer took too long")

// registrar registers the stream consumers of enhanced fan-out. It is safe for concurrent use.
type registrar struct {
	client        *kinesis.Client
	application   string
	mode          RetrievalMode
	fallback      Fallback
	fallbackAfter time.Duration
	streams       *streamSet
	trusted       bool // the tag of the consumer's owner is not checked; set before the first registration
	log           *slog.Logger
}

// register finds or makes the stream consumer. If polling avoids the failure, register returns no
// error: the stream's shards are polled, and loop tries again.
func (r *registrar) register(ctx context.Context, st *stream) error {
	if r.mode != EFO {
		return nil
	}
	if r.fallback == FallbackOff {
		return r.registerNow(ctx, st)
	}
	before := st.consumer.arn()
	bounded, cancel := context.WithTimeoutCause(ctx, r.fallbackAfter, errRegisterTimeout)
	defer cancel()
	err := r.registerNow(bounded, st)
	if err == nil || ctx.Err() != nil || !registrationAvoidable(err) {
		return err
	}
	if st.consumer.remove(before, err) {
		r.log.WarnContext(ctx, "register stream consumer failed, reading the stream by polling", "stream", st.label,
			"err", err, "next_try", st.consumer.registerAt())
	}
	return nil
}

// registerNow finds or makes the stream consumer, or uses the configured one.
func (r *registrar) registerNow(ctx context.Context, st *stream) error {
	if arn := st.cfg.ConsumerARN; arn != "" {
		if owner, _, err := kcl.ParseConsumerARN(arn); err != nil || owner != st.id.ARN {
			return fmt.Errorf("%w: %s: ConsumerARN %s is no consumer of %s: leave it out, or name a consumer of the stream",
				kcl.ErrInvalidStream, st.field, arn, st.id.ARN)
		}
		st.consumer.set(arn)
		return nil
	}
	name := cmp.Or(st.cfg.ConsumerName, r.application)
	arn, err := efo.Register(ctx, r.client, efo.RegisterConfig{
		StreamARN: st.id.ARN, ConsumerName: name,
		Application: r.application, Trusted: r.trusted, Logger: r.log,
	})
	if err != nil {
		return err
	}
	st.consumer.set(arn)
	return nil
}

// registerAgain replaces the stream consumer with the ARN used, unless another call has done so.
func (r *registrar) registerAgain(ctx context.Context, st *stream, used string) error {
	if st.consumer.arn() != used {
		return nil
	}
	err := r.register(ctx, st)
	if err == nil || ctx.Err() != nil {
		return err
	}
	r.log.ErrorContext(ctx, "register stream consumer again failed", "stream", st.label, "err", err)
	if r.fallback == FallbackPolling && !errors.Is(err, kcl.ErrStreamNotFound) {
		st.consumer.remove(used, err) // a shard with a reader falls back to polling after any error
	}
	return err
}

// registrationAvoidable tells whether a registration failed for a reason that polling avoids.
func registrationAvoidable(err error) bool {
	return errors.Is(err, kcl.ErrAccessDenied) || errors.Is(err, efo.ErrTooManyConsumers) ||
		errors.Is(err, efo.ErrConsumerNotReady) ||
		errors.Is(err, errRegisterTimeout) || awserr.Is(err, "LimitExceededException", "UnknownOperationException")
}

// loop registers the missing consumers of polled streams. Their shards then change to fan-out when
// their own probes are due. loop ends with ctx.
func (r *registrar) loop(ctx context.Context) {
	if r.mode != EFO || r.fallback == FallbackOff {
		return
	}
	for retry.Sleep(ctx, trialTime) == nil {
		for _, st := range r.streams.all() {
			if st.consumer.err() == nil || st.err() != nil || time.Now().Before(st.consumer.registerAt()) {
				continue
			}
			if err := r.register(ctx, st); err != nil && ctx.Err() == nil {
				st.consumer.remove("", err)
				r.log.WarnContext(ctx, "register stream consumer failed", "stream", st.label, "err", err)
			}
		}
	}
}
