package efo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/retry"
)

const (
	// DefaultRegisterTimeout is how long [Register] waits for ACTIVE.
	DefaultRegisterTimeout = 2 * time.Minute
	// limitTimeout is how long Register goes on while the service says LimitExceeded. Five
	// consumers may be CREATING at a time, and five may be registered per second.
	limitTimeout = 5 * time.Minute
	// fullTimeout is how long Register waits for room in a full stream: another application may
	// be deregistering its consumer.
	fullTimeout = 10 * time.Second
	// maxConsumers is how many consumers a stream may have. With On-demand Advantage it is 50,
	// and the service refuses later.
	maxConsumers = 20
	// maxTagCalls is how often Register asks for the tags of a consumer while it is throttled.
	maxTagCalls = 5

	// applicationTag is the key of the tag that names the application that made a consumer.
	applicationTag = "kcl:application"
)

// RegisterConfig says which consumer [Register] is to find or make.
type RegisterConfig struct {
	// StreamARN is the ARN of the stream. Required.
	StreamARN string
	// ConsumerName is unique in the stream: 1 to 128 letters, digits,
	// underscores, dots and hyphens. Required; the application's name is a good one.
	ConsumerName string
	// Application, unless empty, is written to the consumer as the tag kcl:application when
	// Register makes the consumer. A consumer of another application is [ErrConsumerTaken].
	// Without kinesis:TagResource there is no tag, and without kinesis:ListTagsForResource no
	// check. At most 256 characters.
	Application string
	// Trusted leaves out the check of the tag. The service answers five calls for tags a second,
	// so in a large fleet only some workers check.
	Trusted bool
	// Timeout is how long the consumer may take to become ACTIVE. If a consumer of that name is
	// being deleted, it is how long that may take. Defaults to 2m (DefaultRegisterTimeout).
	Timeout time.Duration
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

// Validate reports everything that is missing or malformed, naming the field.
func (c RegisterConfig) Validate() error {
	var errs []error
	if _, err := kcl.ParseStreamARN(c.StreamARN); err != nil {
		errs = append(errs, fmt.Errorf("efo: RegisterConfig.StreamARN: %w", err))
	}
	if !kcl.ValidStreamName(c.ConsumerName) {
		errs = append(errs, fmt.Errorf(
			"efo: RegisterConfig.ConsumerName %q; want 1 to 128 letters, digits, underscores, dots and hyphens", c.ConsumerName))
	}
	if c.Timeout < 0 {
		errs = append(errs, errors.New("efo: RegisterConfig.Timeout is negative"))
	}
	return errors.Join(errs...)
}

// Register returns the ARN of the consumer with a name once it is ACTIVE. It registers the consumer
// if it does not exist (FanOutConsumerRegistration in the KCL). Any number of workers may call it
// at once; one of them registers. Register waits with jitter. It waits RegisterConfig.Timeout for
// ACTIVE, and five minutes while the service says LimitExceeded.
//
// Errors wrap [kcl.ErrStreamNotFound], [kcl.ErrAccessDenied] (naming the action to allow),
// [ErrTooManyConsumers], [ErrConsumerNotReady] or the cause of ctx, with the last error of the
// service.
func Register(ctx context.Context, client *kinesis.Client, cfg RegisterConfig) (arn string, err error) {
	if err := cfg.Validate(); err != nil {
		return "", err
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultRegisterTimeout)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	r := &registration{
		RegisterConfig: cfg, client: client, http: line.NewClient(client.Options().HTTPClient),
		start: time.Now(), wait: retry.New(500*time.Millisecond, 5*time.Second),
	}
	return r.run(ctx)
}

// registration is one call of [Register].
type registration struct {
	RegisterConfig
	client       *kinesis.Client
	http         aws.HTTPClient
	wait         *retry.Backoff
	start        time.Time // of the wait for ACTIVE; later when the service limits the calls
	limitedSince time.Time // since when the service says LimitExceeded; zero if it does not
	state        string    // last state of the consumer, for the error
	registered   bool      // this call has registered the consumer
	withoutTag   bool      // tagging is not permitted
	tagCalls     int       // how often the tags were asked for
	refusal      error     // the last error of the service
}

func (r *registration) run(ctx context.Context) (string, error) {
	for {
		arn, err := r.step(ctx)
		if err != nil || arn != "" {
			return arn, err
		}
		if time.Since(r.start) > r.Timeout {
			return "", fmt.Errorf("%w: %s of %s is still %s after %s",
				ErrConsumerNotReady, r.ConsumerName, r.StreamARN, r.state, r.Timeout)
		}
		if r.wait.Wait(ctx) != nil {
			return "", r.cause(ctx)
		}
	}
}

// cause is the cause of ctx, with the last error of the service.
func (r *registration) cause(ctx context.Context) error {
	if r.refusal == nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), r.refusal)
}

// step makes one try. The caller waits and tries again if step returns no ARN and no error.
func (r *registration) step(ctx context.Context) (string, error) {
	c, err := r.describe(ctx)
	switch {
	case err == nil && c.ConsumerStatus == types.ConsumerStatusActive:
		return r.checkApplication(ctx, aws.ToString(c.ConsumerARN))
	case err == nil:
		r.state = string(c.ConsumerStatus)
		return "", nil
	case awserr.Is(err, "ResourceNotFoundException"):
		return "", r.register(ctx)
	}
	return "", r.finalError(ctx, err, "kinesis:DescribeStreamConsumer")
}

func (r *registration) describe(ctx context.Context) (*types.ConsumerDescription, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	in := &kinesis.DescribeStreamConsumerInput{StreamARN: &r.StreamARN, ConsumerName: &r.ConsumerName}
	out, err := r.client.DescribeStreamConsumer(ctx, in, r.options)
	switch {
	case err != nil:
		return nil, err
	case out.ConsumerDescription == nil:
		return nil, errNoDescription
	}
	return out.ConsumerDescription, nil
}

// checkApplication returns the ARN unless another application made the consumer. A tag that cannot
// be read does not count.
func (r *registration) checkApplication(ctx context.Context, arn string) (string, error) {
	if r.Application == "" || r.registered || r.Trusted {
		return arn, nil
	}
	call, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out, err := r.client.ListTagsForResource(call, &kinesis.ListTagsForResourceInput{ResourceARN: &arn}, r.options)
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil:
		if r.tagCalls++; awserr.Throttled(err) && r.tagCalls < maxTagCalls {
			return "", nil
		}
		r.Logger.LogAttrs(ctx, slog.LevelDebug, "cannot read the tags of the stream consumer",
			slog.String("consumer", r.ConsumerName), slog.Any("err", err))
		return arn, nil
	}
	for _, t := range out.Tags {
		if owner := aws.ToString(t.Value); aws.ToString(t.Key) == applicationTag && owner != r.Application {
			return "", fmt.Errorf("%w: %s was made by application %q, this is %q: choose another ConsumerName; "+
				"if the application has been renamed, remove the tag %s from the consumer",
				ErrConsumerTaken, arn, owner, r.Application, applicationTag)
		}
	}
	return arn, nil
}

func (r *registration) register(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	in := &kinesis.RegisterStreamConsumerInput{StreamARN: &r.StreamARN, ConsumerName: &r.ConsumerName}
	if r.Application != "" && !r.withoutTag {
		in.Tags = map[string]string{applicationTag: r.Application}
	}
	_, err := r.client.RegisterStreamConsumer(call, in, r.options)
	switch {
	case err == nil:
		r.registered = true
		r.Logger.LogAttrs(ctx, slog.LevelInfo, "stream consumer registered",
			slog.String("stream", streamName(r.StreamARN)), slog.String("consumer", r.ConsumerName))
		r.state, r.start, r.limitedSince, r.refusal = string(types.ConsumerStatusCreating), time.Now(), time.Time{}, nil
		r.wait.Reset()
		return nil
	case awserr.Is(err, "ResourceInUseException"):
		// Another worker was first, the name is being deleted, or the stream is not ACTIVE.
		r.state = "in use"
		return nil
	case awserr.Is(err, "LimitExceededException"):
		return r.waitForRoom(ctx, err)
	case awserr.Is(err, "ResourceNotFoundException"):
		return fmt.Errorf("%w: %s", kcl.ErrStreamNotFound, r.StreamARN)
	case in.Tags != nil && (awserr.Denied(err) || awserr.Is(err, "ValidationException", "SerializationException")):
		// Tags need a permission of their own, and small servers have no tags.
		r.withoutTag = true
		r.Logger.LogAttrs(ctx, slog.LevelDebug, "registering the stream consumer without a tag",
			slog.String("consumer", r.ConsumerName), slog.Any("err", err))
		return r.register(ctx)
	}
	return r.finalError(ctx, err, "kinesis:RegisterStreamConsumer")
}

// waitForRoom handles LimitExceeded. The error means too many calls, too many consumers that are
// being registered, or no room for another consumer. The first two pass. The list of consumers
// tells whether the stream is full.
func (r *registration) waitForRoom(ctx context.Context, cause error) error {
	r.state, r.start, r.refusal = "limited", time.Now(), cause
	if r.limitedSince.IsZero() {
		r.limitedSince = r.start
	}
	names, creating, err := r.consumers(ctx)
	if err == nil && len(names) >= maxConsumers && !creating && time.Since(r.limitedSince) > fullTimeout {
		return fmt.Errorf("%w: %s has %d: %s; deregister one, or use the ARN of one: %w",
			ErrTooManyConsumers, r.StreamARN, len(names), strings.Join(names, ", "), cause)
	}
	if time.Since(r.limitedSince) > limitTimeout {
		return fmt.Errorf("register consumer %s of %s: limited for %s: %w",
			r.ConsumerName, r.StreamARN, limitTimeout, cause)
	}
	r.Logger.LogAttrs(ctx, slog.LevelWarn, "registering the stream consumer is limited, waiting",
		slog.String("consumer", r.ConsumerName), slog.Any("err", cause))
	return nil
}

// consumers lists the names of the consumers that are not being deleted, and tells whether any is
// being registered.
func (r *registration) consumers(ctx context.Context) (names []string, creating bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	pages := kinesis.NewListStreamConsumersPaginator(r.client, &kinesis.ListStreamConsumersInput{StreamARN: &r.StreamARN})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, func(o *kinesis.Options) { o.HTTPClient = r.http })
		if err != nil {
			return nil, false, err
		}
		for _, c := range page.Consumers {
			creating = creating || c.ConsumerStatus == types.ConsumerStatusCreating
			if c.ConsumerStatus != types.ConsumerStatusDeleting {
				names = append(names, aws.ToString(c.ConsumerName))
			}
		}
	}
	return names, creating, nil
}

// finalError returns nil for an error that passes, and otherwise the error with a remedy.
func (r *registration) finalError(ctx context.Context, err error, call string) error {
	switch {
	case ctx.Err() != nil:
		return r.cause(ctx)
	case awserr.Denied(err):
		return awserr.Explain(err, call, r.StreamARN)
	case awserr.Is(err, "InvalidArgumentException", "ValidationException", "UnknownOperationException"):
		return fmt.Errorf("register consumer %s of %s: %w", r.ConsumerName, r.StreamARN, err)
	}
	r.state, r.refusal = "unknown ("+awserr.Code(err)+")", err
	r.Logger.LogAttrs(ctx, slog.LevelWarn, "stream consumer not available, trying again",
		slog.String("consumer", r.ConsumerName), slog.String("call", call), slog.Any("err", err))
	return nil
}

// options are those of every call. Register itself tries again, so the SDK does not.
func (r *registration) options(o *kinesis.Options) {
	o.Retryer = aws.NopRetryer{}
	o.HTTPClient = r.http
}

// Deregister removes the consumer with this ARN. The library never calls it, because a whole fleet
// shares a consumer. A consumer that does not exist is no error. A missing permission wraps
// [kcl.ErrAccessDenied].
func Deregister(ctx context.Context, client *kinesis.Client, arn string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*askTimeout)
	defer cancel()
	_, err := client.DeregisterStreamConsumer(ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: &arn})
	if err == nil || awserr.Is(err, "ResourceNotFoundException") {
		return nil
	}
	return awserr.Explain(err, "kinesis:DeregisterStreamConsumer", arn)
}
