package dynamodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsretry "github.com/aws/aws-sdk-go-v2/aws/retry"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/leases"
)

// table is one table in DynamoDB, and the calls to it: the lease table, or a side table of KCL 3.0
// to 3.4.
type table struct {
	client  *sdk.Client
	http    line.HTTPClient // the client's, which leaves connections that fail
	timeout time.Duration   // of a request
	logger  *slog.Logger    // nil: that of the caller
	name    string
	key     string     // name of the hash key
	side    bool       // it is a side table
	size    *tableSize // of the lease table
}

// newTable returns the lease table that cfg names.
func newTable(cfg Config) *table {
	t := &table{
		client: cfg.Client, timeout: cmp.Or(cfg.RequestTimeout, defaultRequestTimeout), logger: cfg.Logger,
		name: cfg.Table, key: attrKey, size: &tableSize{configured: cfg.ScanSegments},
	}
	if cfg.Client != nil { // a missing client is an error of Config.Validate
		t.http = line.NewClient(cfg.Client.Options().HTTPClient)
	}
	return t
}

// sideTable returns a side table, which is called with the same client.
func (t *table) sideTable(name, key string) *table {
	other := *t
	other.name, other.key, other.side = name, key, true
	return &other
}

// log returns the logger of the store, or else that of the caller.
func (t *table) log(ctx context.Context) *slog.Logger {
	return cmp.Or(t.logger, leases.Logger(ctx)).With("table", t.name)
}

// noRetries is an option of requests: the SDK does not repeat the request.
func noRetries(o *sdk.Options) { o.Retryer = aws.NopRetryer{} }

// shortWaits is an option of requests: the SDK waits so little between its attempts that they fit
// into the deadline of the request.
func (t *table) shortWaits(o *sdk.Options) {
	o.Retryer = awsretry.AddWithMaxBackoffDelay(o.Retryer, t.timeout/10)
}

// errNoAnswer is the cause of a request's own deadline.
var errNoAnswer = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// method is a method of the SDK's client.
type method[In, Out any] func(context.Context, In, ...func(*sdk.Options)) (Out, error)

// callTable makes one request with a deadline. The error names the action, the table and, where one
// is known, the remedy.
func callTable[In, Out any](
	ctx context.Context, t *table, action string, fn method[In, Out], in In, opts ...func(*sdk.Options),
) (Out, error) {
	timed, cancel := context.WithTimeoutCause(ctx, t.timeout, errNoAnswer)
	defer cancel()
	out, err := fn(timed, in, append(opts, t.transport)...)
	return out, t.explain(ctx, timed, action, err)
}

// callPage makes one request whose answer may be large. Its deadline counts silence, so that a slow
// line takes as long as it needs.
func callPage[In, Out any](ctx context.Context, t *table, action string, fn method[In, Out], in In) (Out, error) {
	timed, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := line.NewSilence(t.timeout, func() { cancel(errNoAnswer) })
	defer silence.Stop()
	out, err := fn(silence.In(timed), in, t.shortWaits, t.transport)
	return out, t.explain(ctx, timed, action, err)
}

// transport is an option of requests: they use the HTTP client that leaves connections that fail.
func (t *table) transport(o *sdk.Options) {
	o.HTTPClient = t.http
	// DynamoDB Local sends wrong checksums. The SDK accepts the answers, and logs a warning for each
	// of them.
	o.DisableValidateResponseChecksum = o.DisableValidateResponseChecksum || o.BaseEndpoint != nil
}

// explain returns the error of a request, with the action, the table and the remedy.
func (t *table) explain(ctx, timed context.Context, action string, err error) error {
	resource := "table " + t.name
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s: %w", action, resource, context.Cause(ctx))
	case timed.Err() != nil:
		return fmt.Errorf("%s %s: no answer in time after %v: %w", action, resource, t.timeout, context.DeadlineExceeded)
	case awserr.Is(err, "ResourceNotFoundException") && t.side:
		return fmt.Errorf("%w: %s: %s: %w", leases.ErrTableNotFound, action, t.name, err)
	case awserr.Is(err, "ResourceNotFoundException"):
		return fmt.Errorf("%w: %s: %s; Init makes it, and reading starts again at the initial position: %w",
			leases.ErrTableNotFound, action, t.name, err)
	}
	return awserr.Explain(err, action, resource)
}

// describe returns the description of the table. It is never nil without an error.
func (t *table) describe(ctx context.Context) (*types.TableDescription, error) {
	in := &sdk.DescribeTableInput{TableName: &t.name}
	out, err := callTable(ctx, t, "dynamodb:DescribeTable", t.client.DescribeTable, in, t.shortWaits)
	switch {
	case err != nil:
		return nil, err
	case out.Table == nil:
		return nil, fmt.Errorf("dynamodb:DescribeTable table %s: the answer has no Table", t.name)
	}
	return out.Table, nil
}

// present tells whether a side table exists, and refuses a table of another layout.
func (t *table) present(ctx context.Context) (bool, error) {
	d, err := t.describe(ctx)
	switch {
	case errors.Is(err, leases.ErrTableNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	if keys := d.KeySchema; len(keys) != 1 || aws.ToString(keys[0].AttributeName) != t.key {
		return false, fmt.Errorf("%w: table %s does not have the key %s of a side table of KCL 3.0 to 3.4; "+
			"if it is of another application, set Config.CoordinatorTable and Config.WorkerMetricsTable to other names",
			leases.ErrForeignTable, t.name, t.key)
	}
	return true, nil
}

// get reads an item as it is now. The item is nil when there is none.
func (t *table) get(ctx context.Context, id string) (item, error) {
	out, err := callTable(ctx, t, "dynamodb:GetItem", t.client.GetItem, &sdk.GetItemInput{
		TableName: &t.name, Key: t.id(id), ConsistentRead: aws.Bool(true),
	}, t.shortWaits)
	if err != nil || len(out.Item) == 0 {
		return nil, err
	}
	return out.Item, nil
}

// id returns the key of an item.
func (t *table) id(id string) item { return item{t.key: str(id)} }

// entity returns a new item with its key and, in the lease table, its kind.
func (t *table) entity(id, kind string) item {
	it := t.id(id)
	if !t.side {
		it[attrEntityType] = str(kind)
	}
	return it
}
