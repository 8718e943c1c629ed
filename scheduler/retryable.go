package scheduler

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

const (
	callTimeout     = 10 * time.Second // one call of the control plane, or for one row
	scanTimeout     = 30 * time.Second // all rows; with DynamoDB, while nothing of them arrives
	firstBackoff    = 500 * time.Millisecond
	maxBackoff      = 20 * time.Second // plus jitter of half of it
	maxWrong        = 3                // answers in a row that are none of the service's, before Run gives up
	unreachableTime = 2 * time.Minute  // how long Run tries to reach a service that never answered before it gives up
)

// retryability is what an error of a call says about calling again.
type retryability int

const (
	giveUp      retryability = iota // the same call will fail again
	wrongPlace                      // another server answered, or clocks differ: an accident is tried again
	tryAgain                        // the service answered that it cannot now
	unreachable                     // nobody answered
)

// retryable is the one place that decides whether a call of the control plane
// or of the lease store is made again.
func retryable(err error) retryability {
	switch {
	case errors.Is(err, leases.ErrForeignTable), errors.Is(err, kcl.ErrAccessDenied),
		errors.Is(err, kcl.ErrStreamNotFound), errors.Is(err, kcl.ErrStreamRecreated),
		errors.Is(err, kcl.ErrInvalidStream), errors.Is(err, kcl.ErrLeaseLost), errors.Is(err, efo.ErrConsumerTaken),
		errors.Is(err, efo.ErrTooManyConsumers): // which wraps a LimitExceeded
		return giveUp
	case awserr.Denied(err), awserr.Is(err, "ResourceNotFoundException", "ValidationException", "InvalidArgumentException",
		"ExpiredTokenException"):
		return giveUp
	case errors.Is(err, errTracker):
		return tryAgain // it is the user's, and not on the network for all we know
	case errors.Is(err, errIncomplete), errors.Is(err, errEndless), errors.Is(err, errCreating):
		return tryAgain // an answer of the service
	case awserr.NotSent(err):
		return giveUp
	case awserr.Foreign(err), awserr.Skewed(err):
		return wrongPlace // of a skew the SDK has learned by how much: the next call may succeed
	case awserr.Throttled(err), awserr.Is(err, "ResourceInUseException", "InternalFailure", "InternalFailureException",
		"InternalServerError", "ServiceUnavailable", "KMSThrottlingException"):
		return tryAgain
	case errors.Is(err, context.DeadlineExceeded), awserr.Code(err) == "transport":
		return unreachable
	}
	// An answer of a service with a code that is not known here, 5xx among them.
	return tryAgain
}

// retryStart repeats a step of the start until it succeeds, fails for good or ctx ends. It
// returns the cause of ctx. A service that has not answered for unreachableTime is an error:
// a wrong endpoint or missing credentials are more likely than an outage.
func (s *Scheduler) retryStart(ctx context.Context, step string, do func(context.Context) error) error {
	backoff := retry.New(firstBackoff, maxBackoff)
	var silent time.Time
	wrong := 0                   // answers that are not the service's, in a row
	s.status.starting(step, nil) // once: the last error stays known while the step is repeated
	for {
		start := time.Now()
		err := do(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		kind := retryable(err)
		if kind != wrongPlace {
			wrong = 0
		}
		switch kind {
		case giveUp:
			return err
		case wrongPlace:
			if wrong++; wrong >= maxWrong {
				return err
			}
		case tryAgain:
			silent = time.Time{}
		case unreachable:
			if silent.IsZero() {
				silent = start
			}
			if time.Since(silent) >= unreachableTime {
				return err
			}
		}
		wait := backoff.Next()
		s.status.starting(step, err)
		s.log.WarnContext(ctx, "start is waiting for a service", "step", step, "err", err, "wait", wait)
		if err := retry.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}
