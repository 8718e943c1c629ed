package dynamodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsretry "github.com/aws/aws-sdk-go-v2/aws/retry"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/leases"
)

// DefaultRequestTimeout is the default of [Config.RequestTimeout].
const DefaultRequestTimeout = 3 * time.Second

// Config says which table to use, and how to make it when it is not there.
type Config struct {
	// Client is used as it is, except that its retries are off for writes and
	// wait less for reads. Required.
	Client *sdk.Client

	// Table is the name of the lease table; in the KCL it is the name of the
	// application. Two applications must not share a table, and it must not be a
	// global table, whose conditions hold within one region only. Required.
	Table string

	// RequestTimeout bounds every write, and every read with the attempts that
	// the SDK makes of it; for a page of a scan or query it is how long nothing may
	// arrive. Defaults to 3s (DefaultRequestTimeout). Should be less than a third of the
	// coordinator's FailoverTime, so that a lost answer does not cost a lease.
	// The KCL's dynamoDbRequestTimeout.
	RequestTimeout time.Duration

	// ConsistentList makes List see all writes accepted before it, at twice the
	// price. Defaults to false, as in the KCL; leases are safe either way.
	ConsistentList bool

	// ScanSegments is in how many segments List reads the table, all at the same
	// time. Defaults to 0: one for each 0.2 GB of the table, 32 at most, so that a
	// small table is read by one plain Scan; 10 when the size cannot be found out.
	// At most 1000. The KCL's leaseTableScanTotalSegments.
	ScanSegments int

	// ReadCapacity and WriteCapacity are the capacity units of a table that
	// Init makes (initialLeaseTableReadCapacity and ...WriteCapacity in the
	// KCL). Both 0, the default, make it on demand (PAY_PER_REQUEST).
	ReadCapacity  int64
	WriteCapacity int64

	// DeletionProtection protects a table that Init makes from being deleted.
	// Defaults to false, as in the KCL; recommended in production.
	DeletionProtection bool

	// PointInTimeRecovery switches continuous backups on, also for a table that
	// exists; it is never switched off here. Defaults to false, as in the KCL
	// (leaseTablePitrEnabled); recommended in production.
	PointInTimeRecovery bool

	// Tags are put on a table that Init makes.
	Tags map[string]string

	// OnCreate, if set, is called with Table when Init of this worker has made it
	// and it is ACTIVE: the place to set up alarms, scaling or a resource policy.
	// Its error is Init's; it is not called again then, as the table exists. The
	// KCL's TableCreatorCallback.
	OnCreate func(ctx context.Context, table string) error

	// CoordinatorTable and WorkerMetricsTable name the side tables in which KCL
	// 3.0 to 3.4 keeps what is no lease. They are used where they exist, and never
	// made. Default to Table with "-CoordinatorState" and "-WorkerMetricStats", as
	// in the KCL (tableName of CoordinatorStateTableConfig and
	// WorkerMetricsTableConfig).
	CoordinatorTable   string
	WorkerMetricsTable string

	// MigrateToLeaseTable lets workers write into the lease table what KCL 3.0 to
	// 3.4 keeps in the side tables, once all workers of the fleet know how
	// (migrateAllEntitiesToLeaseTable in the KCL). From then on no worker of KCL
	// 3.0 to 3.4 can be started any more. Defaults to false; of no effect where
	// there are no side tables.
	MigrateToLeaseTable bool

	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

var tableName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

// Validate reports everything that is wrong, naming the fields.
func (c Config) Validate() error {
	var problems []error
	if c.Client == nil {
		problems = append(problems, errors.New("Config.Client is missing: set it to dynamodb.NewFromConfig(aws config)"))
	}
	if c.Client != nil {
		if e := c.Client.Options().BaseEndpoint; e != nil && !callable(*e) {
			problems = append(problems, fmt.Errorf("Config.Client has BaseEndpoint %q: give a URL with http:// or https:// and a host, or leave it out for AWS", *e))
		}
	}
	if !tableName.MatchString(c.Table) {
		problems = append(problems, fmt.Errorf("Config.Table is %q: a table name has 3 to 255 letters, digits, '_', '.' or '-'", c.Table))
	}
	if c.ScanSegments < 0 || c.ScanSegments > maxScanSegments {
		problems = append(problems, fmt.Errorf("Config.ScanSegments is %d: it must be from 0 to %d", c.ScanSegments, maxScanSegments))
	}
	for _, t := range []struct{ field, name string }{{"Config.CoordinatorTable", c.CoordinatorTable}, {"Config.WorkerMetricsTable", c.WorkerMetricsTable}} {
		if t.name != "" && (!tableName.MatchString(t.name) || t.name == c.Table) {
			problems = append(problems, fmt.Errorf("%s is %q: it must be the name of another table than Config.Table, of 3 to 255 letters, digits, '_', '.' or '-'", t.field, t.name))
		}
	}
	if c.RequestTimeout < 0 {
		problems = append(problems, fmt.Errorf("Config.RequestTimeout is %v: it must not be negative", c.RequestTimeout))
	}
	if c.ReadCapacity < 0 || c.WriteCapacity < 0 || (c.ReadCapacity == 0) != (c.WriteCapacity == 0) {
		problems = append(problems, fmt.Errorf("Config.ReadCapacity is %d and Config.WriteCapacity %d: set both to 1 or more, or both to 0 for an on-demand table", c.ReadCapacity, c.WriteCapacity))
	}
	return errors.Join(problems...)
}

// callable tells whether an endpoint is a URL that can be called.
func callable(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// Store is a lease table in DynamoDB. It is safe for concurrent use and holds
// no state but its Config and, for a while, which side tables exist and how
// large the table is.
type Store struct {
	cfg    Config
	log    *slog.Logger
	http   line.HTTPClient // of Client; leaves connections that fail
	routes *routes
	size   *tableSize
	side   bool // it stands for a side table
}

var _ leases.FleetStore = (*Store)(nil)

// New returns a Store. It calls nobody; Validate and Init say what is wrong with cfg.
func New(cfg Config) *Store {
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, DefaultRequestTimeout)
	cfg.Tags = maps.Clone(cfg.Tags)
	log := cmp.Or(cfg.Logger, slog.Default())
	s := &Store{cfg: cfg, log: log.With("table", cfg.Table), routes: &routes{}, size: &tableSize{}}
	if cfg.Client != nil { // else Validate says so
		s.http = line.NewClient(cfg.Client.Options().HTTPClient)
	}
	return s
}

// Validate reports everything that is wrong with the Config that New was given.
func (s *Store) Validate() error {
	if s == nil {
		return errors.New("leases/dynamodb: the store is nil: make it with dynamodb.New")
	}
	if err := s.cfg.Validate(); err != nil {
		return fmt.Errorf("leases/dynamodb: %w", err)
	}
	return nil
}

// once switches the SDK's retries off.
func once(o *sdk.Options) { o.Retryer = aws.NopRetryer{} }

// soon keeps the SDK's waits between attempts short, so that they fit into the
// deadline of a request.
func (s *Store) soon(o *sdk.Options) {
	o.Retryer = awsretry.AddWithMaxBackoffDelay(o.Retryer, s.cfg.RequestTimeout/10)
}

// errNoAnswer is the cause of a request's own deadline.
var errNoAnswer = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// call makes one request with a deadline. The error names the action, the
// table and the remedy where there is one.
func call[In, Out any](ctx context.Context, s *Store, action string, fn func(context.Context, In, ...func(*sdk.Options)) (Out, error), in In, opts ...func(*sdk.Options)) (Out, error) {
	timed, cancel := context.WithTimeoutCause(ctx, s.cfg.RequestTimeout, errNoAnswer)
	defer cancel()
	out, err := fn(timed, in, append(opts, s.lasting)...)
	return out, s.explain(ctx, timed, action, err)
}

// page makes one request whose answer may be large: its deadline counts silence, so that a slow
// line takes as long as it needs.
func page[In, Out any](ctx context.Context, s *Store, action string, fn func(context.Context, In, ...func(*sdk.Options)) (Out, error), in In) (Out, error) {
	timed, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := line.NewSilence(s.cfg.RequestTimeout, func() { cancel(errNoAnswer) })
	defer silence.Stop()
	out, err := fn(silence.In(timed), in, s.soon, s.lasting)
	return out, s.explain(ctx, timed, action, err)
}

// lasting makes a request leave connections that fail.
func (s *Store) lasting(o *sdk.Options) {
	o.HTTPClient = s.http
	// DynamoDB Local sends checksums of something else. The SDK believes the answer all
	// the same, and logs a warning for each.
	o.DisableValidateResponseChecksum = o.DisableValidateResponseChecksum || o.BaseEndpoint != nil
}

func (s *Store) explain(ctx, timed context.Context, action string, err error) error {
	resource := "table " + s.cfg.Table
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s: %w", action, resource, context.Cause(ctx))
	case timed.Err() != nil:
		return fmt.Errorf("%s %s: no answer in time after %v: %w", action, resource, s.cfg.RequestTimeout, context.DeadlineExceeded)
	case awserr.Is(err, "ResourceNotFoundException") && s.side:
		return fmt.Errorf("%w: %s: %s: %w", leases.ErrTableNotFound, action, s.cfg.Table, err)
	case awserr.Is(err, "ResourceNotFoundException"):
		return fmt.Errorf("%w: %s: %s; Init makes it, and reading starts again at the initial position: %w", leases.ErrTableNotFound, action, s.cfg.Table, err)
	}
	return awserr.Explain(err, action, resource)
}

// List implements [leases.Store] with a paged Scan of each segment. Items of other kinds that
// KCL 3.5 keeps in the table are left out.
func (s *Store) List(ctx context.Context) (leases.Listing, error) {
	return s.list(ctx, s.cfg.ConsistentList)
}

// ListNow implements [leases.Store] with a consistent Scan, which costs twice
// the read units of an eventually consistent one.
func (s *Store) ListNow(ctx context.Context) (leases.Listing, error) { return s.list(ctx, true) }

func (s *Store) list(ctx context.Context, consistent bool) (leases.Listing, error) {
	var out leases.Listing
	err := s.scan(ctx, consistent, func(it item) {
		if !isLease(it) {
			if isWorker(it) {
				if m, bad := s.leaseTable().decodeWorker(it); bad == nil {
					out.Workers = append(out.Workers, m)
				}
			}
			return
		}
		if l, bad := decode(it); bad != nil {
			out.Bad = append(out.Bad, bad)
		} else {
			out.Leases = append(out.Leases, l)
		}
	})
	if err != nil {
		return leases.Listing{}, err
	}
	return out, nil
}

// Get implements [leases.Store] with a consistent read.
func (s *Store) Get(ctx context.Context, key string) (leases.Lease, error) {
	it, err := s.leaseTable().get(ctx, key)
	switch {
	case err != nil:
		return leases.Lease{}, err
	case it == nil || !isLease(it):
		return leases.Lease{}, fmt.Errorf("%w: %q in table %s", leases.ErrNotFound, key, s.cfg.Table)
	}
	l, bad := decode(it)
	if bad != nil {
		return leases.Lease{}, bad
	}
	return l, nil
}

// Create implements [leases.Store] with a PutItem that never overwrites.
func (s *Store) Create(ctx context.Context, l leases.Lease) error {
	it, err := encode(l)
	if err != nil {
		return err
	}
	e := newExpression()
	_, err = call(ctx, s, "dynamodb:PutItem", s.cfg.Client.PutItem, &sdk.PutItemInput{
		TableName: &s.cfg.Table, Item: it,
		ConditionExpression:                 aws.String(e.absent(attrKey)),
		ExpressionAttributeNames:            e.names,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, once)
	return s.conflict(ctx, l.Key, err)
}

// Update implements [leases.Store] with one conditional UpdateItem.
func (s *Store) Update(ctx context.Context, u leases.Update) error {
	e := newExpression()
	condition, err := e.condition(u.Read, u.Expect)
	if err != nil {
		return err
	}
	update, err := e.update(u.To, u.Set)
	if err != nil {
		return err
	}
	in := &sdk.UpdateItemInput{
		TableName: &s.cfg.Table, Key: item{attrKey: str(u.Read.Key)},
		ConditionExpression:                 &condition,
		ExpressionAttributeNames:            e.names,
		ExpressionAttributeValues:           e.valuesOrNil(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if update != "" {
		in.UpdateExpression = &update
	}
	_, err = call(ctx, s, "dynamodb:UpdateItem", s.cfg.Client.UpdateItem, in, once)
	return s.conflict(ctx, u.Read.Key, err)
}

// Delete implements [leases.Store] with one conditional DeleteItem. The KCL
// deletes without a condition; this does not take its freedom.
func (s *Store) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	e := newExpression()
	condition, err := e.condition(read, expect)
	if err != nil {
		return err
	}
	_, err = call(ctx, s, "dynamodb:DeleteItem", s.cfg.Client.DeleteItem, &sdk.DeleteItemInput{
		TableName: &s.cfg.Table, Key: item{attrKey: str(read.Key)},
		ConditionExpression:                 &condition,
		ExpressionAttributeNames:            e.names,
		ExpressionAttributeValues:           e.valuesOrNil(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, once)
	err = s.conflict(ctx, read.Key, err)
	if c, ok := errors.AsType[*leases.ConflictError](err); ok && c.Current == nil {
		return nil
	}
	return err
}

// conflict turns a failed condition into a [*leases.ConflictError] with the row
// that was found. Servers that do not return it (DynamoDB does since 2023) are
// asked once more.
func (s *Store) conflict(ctx context.Context, key string, err error) error {
	failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !ok {
		return err
	}
	if len(failed.Item) > 0 {
		l, bad := decode(failed.Item)
		if bad != nil {
			return bad
		}
		return &leases.ConflictError{Key: key, Current: &l}
	}
	l, err := s.Get(ctx, key)
	switch {
	case errors.Is(err, leases.ErrNotFound):
		return &leases.ConflictError{Key: key}
	case err != nil:
		return fmt.Errorf("after a failed condition: %w", err)
	}
	return &leases.ConflictError{Key: key, Current: &l}
}
