package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// defaultRequestTimeout is the default of Config.RequestTimeout.
const defaultRequestTimeout = 3 * time.Second

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
	// arrive. Defaults to 3s. Should be less than a third of the
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

	// Logger takes the log of the store. Defaults to the logger of the scheduler, or else to
	// slog.Default().
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
