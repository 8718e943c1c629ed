package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// tableTimeout bounds the wait for a table to become usable, as in the KCL.
const tableTimeout = 10 * time.Minute

// throttledTime is how long Init tries again by itself while it is throttled.
const throttledTime = 30 * time.Second

// errTableTimeout is the cause when it has passed.
var errTableTimeout = fmt.Errorf("table was not usable after %v", tableTimeout)

// Init implements [leases.Store]: it makes the table unless it exists, waits
// until it is ACTIVE or UPDATING, for ten minutes at most, and checks its key.
// The error wraps [leases.ErrForeignTable] for a table of another layout and
// kcl.ErrAccessDenied for a missing permission. It is one of throttling after 30
// seconds of that: call Init again. It needs dynamodb:DescribeTable;
// dynamodb:CreateTable only when there is no table (with Tags also
// dynamodb:TagResource); dynamodb:DescribeContinuousBackups and
// dynamodb:UpdateContinuousBackups for PointInTimeRecovery.
func (s *Store) Init(ctx context.Context) error {
	if err := s.Validate(); err != nil {
		return err
	}
	created, err := s.init(ctx)
	if err == nil && created && s.cfg.OnCreate != nil {
		if err = s.cfg.OnCreate(ctx, s.cfg.Table); err != nil {
			err = fmt.Errorf("Config.OnCreate for the new table %s: %w", s.cfg.Table, err)
		}
	}
	return err
}

// init does that, and tells whether it was this call that made the table.
func (s *Store) init(ctx context.Context) (created bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tableTimeout, errTableTimeout)
	defer cancel()
	wait := retry.New(500*time.Millisecond, 5*time.Second)
	var status types.TableStatus
	began := time.Now()
	// Throttling that lasts is the caller's affair, who tries again and can say meanwhile what is
	// wrong. A table that was made here is waited for: nobody else calls OnCreate.
	lasts := func() bool { return !created && time.Since(began) >= throttledTime }
	for {
		t, err := s.table.describe(ctx)
		switch {
		case errors.Is(err, leases.ErrTableNotFound):
			// Also right after CreateTable, which DescribeTable may not know of
			// yet; creating it again does no harm.
			did, err := s.create(ctx)
			if err != nil && (!awserr.Throttled(err) || lasts()) {
				return created, err
			}
			if did && !created {
				created = true
				continue // small tables are often there at once
			}
		case awserr.Throttled(err) && lasts():
			return created, err
		case awserr.Throttled(err):
			s.table.log(ctx).LogAttrs(ctx, slog.LevelWarn, "lease table cannot be described yet", slog.Any("err", err))
		case err != nil:
			return created, err
		default:
			if err := s.check(t); err != nil {
				return created, err
			}
			status = t.TableStatus
			if status == types.TableStatusActive || status == types.TableStatusUpdating {
				s.table.size.know(t.TableSizeBytes)
				s.warnOfReplicas(ctx, t)
				if created {
					s.table.log(ctx).LogAttrs(ctx, slog.LevelInfo, "lease table created")
				}
				return created, s.backups(ctx, wait)
			}
			if created || status != types.TableStatusCreating {
				s.table.log(ctx).LogAttrs(ctx, slog.LevelDebug, "waiting for the lease table", slog.String("status", string(status)))
			}
		}
		if err := wait.Wait(ctx); err != nil {
			return created, fmt.Errorf("wait for table %s to become ACTIVE (it is %q): %w", s.cfg.Table, status, err)
		}
	}
}

// warnOfReplicas tells of a global table. Its conditions hold within one region
// only, and what leases depend on is conditions: workers in two regions would
// hold the same lease.
func (s *Store) warnOfReplicas(ctx context.Context, t *types.TableDescription) {
	if len(t.Replicas) == 0 {
		return
	}
	var regions []string
	for _, r := range t.Replicas {
		regions = append(regions, aws.ToString(r.RegionName))
	}
	s.table.log(ctx).LogAttrs(ctx, slog.LevelWarn, "lease table is a global table, whose conditional writes hold within one region only: use a table without replicas, "+
		"or run workers in one region only", slog.Any("regions", regions))
}

// create makes the table. Another worker that was faster is no error, nor is a
// lost answer: the next look at the table tells.
func (s *Store) create(ctx context.Context) (bool, error) {
	in := &sdk.CreateTableInput{
		TableName:                 &s.cfg.Table,
		AttributeDefinitions:      []types.AttributeDefinition{{AttributeName: aws.String(attrKey), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:                 []types.KeySchemaElement{{AttributeName: aws.String(attrKey), KeyType: types.KeyTypeHash}},
		BillingMode:               types.BillingModePayPerRequest,
		DeletionProtectionEnabled: aws.Bool(s.cfg.DeletionProtection),
	}
	if s.cfg.ReadCapacity > 0 {
		in.BillingMode = types.BillingModeProvisioned
		in.ProvisionedThroughput = &types.ProvisionedThroughput{ReadCapacityUnits: &s.cfg.ReadCapacity, WriteCapacityUnits: &s.cfg.WriteCapacity}
	}
	for k, v := range s.cfg.Tags {
		in.Tags = append(in.Tags, types.Tag{Key: &k, Value: &v})
	}
	_, err := call(ctx, s.table, "dynamodb:CreateTable", s.cfg.Client.CreateTable, in, once)
	switch {
	case err == nil:
		return true, nil
	case awserr.Is(err, "ResourceInUseException"):
		return false, nil
	case awserr.Code(err) == "transport", awserr.Code(err) == "timeout":
		s.table.log(ctx).LogAttrs(ctx, slog.LevelWarn, "lease table cannot be created yet", slog.Any("err", err))
		return false, nil
	}
	return false, err
}

// check refuses a table of another layout.
func (s *Store) check(t *types.TableDescription) error {
	var found []string
	fits := len(t.KeySchema) == 1
	for _, k := range t.KeySchema {
		kind := types.ScalarAttributeType("?")
		for _, a := range t.AttributeDefinitions {
			if aws.ToString(a.AttributeName) == aws.ToString(k.AttributeName) {
				kind = a.AttributeType
			}
		}
		found = append(found, fmt.Sprintf("%s (%s, %s)", aws.ToString(k.AttributeName), kind, k.KeyType))
		fits = fits && aws.ToString(k.AttributeName) == attrKey && k.KeyType == types.KeyTypeHash && kind == types.ScalarAttributeTypeS
	}
	if fits {
		return nil
	}
	return fmt.Errorf("%w: table %s has the key %s, a lease table has %s (S, HASH); another application or library uses this table: set Config.Table to another name",
		leases.ErrForeignTable, s.cfg.Table, strings.Join(found, ", "), attrKey)
}

// backups switches point-in-time recovery on when it was asked for.
func (s *Store) backups(ctx context.Context, wait *retry.Backoff) error {
	if !s.cfg.PointInTimeRecovery {
		return nil
	}
	out, err := call(ctx, s.table, "dynamodb:DescribeContinuousBackups", s.cfg.Client.DescribeContinuousBackups, &sdk.DescribeContinuousBackupsInput{TableName: &s.cfg.Table})
	if err != nil {
		return err
	}
	if d := out.ContinuousBackupsDescription; d != nil && d.PointInTimeRecoveryDescription != nil && d.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == types.PointInTimeRecoveryStatusEnabled {
		return nil
	}
	for {
		_, err := call(ctx, s.table, "dynamodb:UpdateContinuousBackups", s.cfg.Client.UpdateContinuousBackups, &sdk.UpdateContinuousBackupsInput{
			TableName:                        &s.cfg.Table,
			PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)},
		})
		// A table that was just made is not ready for it at once.
		if !awserr.Throttled(err) && !isUnavailable(err) {
			return err
		}
		if wait.Wait(ctx) != nil {
			return err
		}
	}
}

func isUnavailable(err error) bool {
	_, ok := errors.AsType[*types.ContinuousBackupsUnavailableException](err)
	return ok
}
