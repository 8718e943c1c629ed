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
	callTimeout     = 10 * time.Second // the limit of a call of the control plane, or for one row
	scanTimeout     = 30 * time.Second // the limit of a listing; with DynamoDB, of a time without data
	firstBackoff    = 500 * time.Millisecond
	maxBackoff      = 20 * time.Second // plus up to half of it
	maxForeign      = 3                // consecutive answers of another server that end Run
	unreachableTime = 2 * time.Minute  // the time without an answer that ends the start
)

// retryability says whether a call may succeed after an error.
type retryability int

const (
	giveUp        retryability = iota // the same call will fail again
	foreignAnswer                     // another server answered, or clocks differ: this may be temporary
	tryAgain                          // the service failed, and a later call may succeed
	unreachable                       // no answer came
)

// retryable tells whether a call of the control plane or of the lease store is made again after an
// error.
func retryable(err error) retryability {
	switch {
	case errors.Is(err, leases.ErrForeignTable), errors.Is(err, kcl.ErrAccessDenied),
		errors.Is(err, kcl.ErrStreamNotFound), errors.Is(err, kcl.ErrStreamRecreated),
		errors.Is(err, kcl.ErrInvalidStream), errors.Is(err, kcl.ErrLeaseLost), errors.Is(err, efo.ErrConsumerTaken),
		errors.Is(err, efo.ErrTooManyConsumers): // it wraps a LimitExceeded, so check it first
		return giveUp
	case awserr.Denied(err), awserr.Is(err, "ResourceNotFoundException", "ValidationException", "InvalidArgumentException",
		"ExpiredTokenException"):
		return giveUp
	case errors.Is(err, errTracker):
		return tryAgain // an error of user code, which may have any text
	case errors.Is(err, errIncomplete), errors.Is(err, errEndless), errors.Is(err, errCreating):
		return tryAgain // an answer of the service
	case awserr.NotSent(err):
		return giveUp
	case awserr.Foreign(err), awserr.Skewed(err):
		return foreignAnswer // the SDK corrects a clock skew in the next call
	case awserr.Throttled(err), awserr.Is(err, "ResourceInUseException", "InternalFailure", "InternalFailureException",
		"InternalServerError", "ServiceUnavailable", "KMSThrottlingException"):
		return tryAgain
	case errors.Is(err, context.DeadlineExceeded), awserr.Code(err) == "transport":
		return unreachable
	}
	return tryAgain // an unknown error code of the service, or a 5xx status
}

// retryStart repeats a step of the start until it succeeds, fails with a permanent error, or ctx
// ends. After the end of ctx it returns the cause. It gives up after unreachableTime without an
// answer: a wrong endpoint or missing credentials are then likelier than an outage.
func (s *Scheduler) retryStart(ctx context.Context, step string, do func(context.Context) error) error {
	backoff := retry.New(firstBackoff, maxBackoff)
	var silent time.Time
	foreignAnswers := 0          // consecutive answers of another server
	s.status.starting(step, nil) // before the loop: while the step is repeated, Status has the last error
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
		if kind != foreignAnswer {
			foreignAnswers = 0
		}
		switch kind {
		case giveUp:
			return err
		case foreignAnswer:
			if foreignAnswers++; foreignAnswers >= maxForeign {
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
		s.log.WarnContext(ctx, "start waits for a service", "step", step, "err", err, "wait", wait)
		if err := retry.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}
