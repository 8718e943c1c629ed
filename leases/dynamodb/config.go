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

// Config says which table to use, and how to make one.
type Config struct {
	// Client calls DynamoDB. Its settings apply, except for retries: writes have none, and reads wait
	// less between attempts. Required.
	Client *sdk.Client

	// Table is the name of the lease table. In the KCL it is the name of the application. Each
	// application needs a table of its own. A global table must not be used, because its conditions
	// hold within one region only. Required.
	Table string

	// RequestTimeout bounds each write, and each read with its repetitions. For a page of a scan or
	// query, it bounds the time without a byte. Defaults to 3s. It should be less than a third of the
	// FailoverTime of the scheduler, so that a lost answer does not cost a lease. The KCL's
	// dynamoDbRequestTimeout.
	RequestTimeout time.Duration

	// ConsistentList makes List see all writes that were accepted before it, at twice the price.
	// Defaults to false, as in the KCL. Leases are safe either way.
	ConsistentList bool

	// ScanSegments is the number of segments in which List reads the table. Segments are read at the
	// same time. Defaults to 0: one segment for each 0.2 GB of the table, 32 at most. One plain Scan
	// reads a small table. If the size is not known, there are 10 segments. At most 1000. The KCL's
	// leaseTableScanTotalSegments.
	ScanSegments int

	// ReadCapacity and WriteCapacity are the capacity units of a table that Init makes. Both 0, the
	// default, make the table on demand (PAY_PER_REQUEST). The KCL's initialLeaseTableReadCapacity and
	// initialLeaseTableWriteCapacity.
	ReadCapacity  int64
	WriteCapacity int64

	// DeletionProtection protects a table that Init makes from being deleted. Defaults to false, as in
	// the KCL. Recommended in production.
	DeletionProtection bool

	// PointInTimeRecovery switches continuous backups on, also for a table that exists. Nothing here
	// switches them off. Defaults to false, as in the KCL (leaseTablePitrEnabled). Recommended in
	// production.
	PointInTimeRecovery bool

	// Tags are the tags of a table that Init makes.
	Tags map[string]string

	// OnCreate, if set, is called with Table when this worker has made the table and the table is
	// ACTIVE. It can set up alarms, scaling or a resource policy. Init returns its error. A later Init
	// does not call it again, because the table exists then. The KCL's TableCreatorCallback.
	OnCreate func(ctx context.Context, table string) error

	// CoordinatorTable and WorkerMetricsTable name the side tables, in which KCL 3.0 to 3.4 keeps
	// everything but leases. Side tables that exist are used, and none is ever made. Default to Table
	// with "-CoordinatorState" and "-WorkerMetricStats", as in the KCL (tableName of
	// CoordinatorStateTableConfig and WorkerMetricsTableConfig).
	CoordinatorTable   string
	WorkerMetricsTable string

	// MigrateToLeaseTable lets workers move the contents of the side tables into the lease table, once
	// all workers of the fleet are able to. No worker of KCL 3.0 to 3.4 can start after that. Defaults
	// to false. Has no effect without side tables. The KCL's migrateAllEntitiesToLeaseTable.
	MigrateToLeaseTable bool

	// Logger takes the log of the store. Defaults to the logger of the scheduler, or else to
	// slog.Default().
	Logger *slog.Logger
}

var tableName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

// Validate reports every problem at noRetries, by field.
func (c Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf("Config."+format, args...)) }
	if c.Client == nil {
		bad("Client is missing: set it to dynamodb.NewFromConfig(aws config)")
	} else if e := c.Client.Options().BaseEndpoint; e != nil && !callable(*e) {
		bad("Client has BaseEndpoint %q: give a URL with http:// or https:// and a host, or leave it out for AWS", *e)
	}
	if !tableName.MatchString(c.Table) {
		bad("Table is %q: a table name has 3 to 255 letters, digits, '_', '.' or '-'", c.Table)
	}
	if c.ScanSegments < 0 || c.ScanSegments > maxScanSegments {
		bad("ScanSegments is %d: it must be from 0 to %d", c.ScanSegments, maxScanSegments)
	}
	for _, t := range []struct{ field, name string }{
		{"CoordinatorTable", c.CoordinatorTable}, {"WorkerMetricsTable", c.WorkerMetricsTable},
	} {
		if t.name != "" && (!tableName.MatchString(t.name) || t.name == c.Table) {
			bad("%s is %q: it must be the name of another table than Config.Table, "+
				"of 3 to 255 letters, digits, '_', '.' or '-'", t.field, t.name)
		}
	}
	if c.RequestTimeout < 0 {
		bad("RequestTimeout is %v: it must not be negative", c.RequestTimeout)
	}
	if c.ReadCapacity < 0 || c.WriteCapacity < 0 || (c.ReadCapacity == 0) != (c.WriteCapacity == 0) {
		bad("ReadCapacity is %d and Config.WriteCapacity %d: set both to 1 or more, or both to 0 for an on-demand table",
			c.ReadCapacity, c.WriteCapacity)
	}
	return errors.Join(problems...)
}

// callable tells whether an endpoint is a URL with a scheme and a host.
func callable(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
