package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// tableTimeout bounds the wait for a usable table, as in the KCL.
const tableTimeout = 10 * time.Minute

// throttledTime is how long Init repeats throttled requests.
const throttledTime = 30 * time.Second

// errTableTimeout is the cause of a context that ended after tableTimeout.
var errTableTimeout = fmt.Errorf("table was not usable after %v", tableTimeout)

// Init implements [leases.Store]. It makes the table if it does not exist, and checks its key. It
// waits for ten minutes at most until the table is ACTIVE or UPDATING.
//
// The error wraps [leases.ErrForeignTable] for a table of another layout, and kcl.ErrAccessDenied
// for a missing permission. After 30 seconds of throttling, Init returns the error of the service.
// Init may be called again then.
//
// Init needs dynamodb:DescribeTable. It needs dynamodb:CreateTable to make the table, and with Tags
// also dynamodb:TagResource. It needs dynamodb:DescribeContinuousBackups and
// dynamodb:UpdateContinuousBackups for PointInTimeRecovery.
func (s *Store) Init(ctx context.Context) error {
	if err := s.Validate(); err != nil {
		return err
	}
	created, err := s.makeTable(ctx)
	if err == nil && created && s.cfg.OnCreate != nil {
		if err = s.cfg.OnCreate(ctx, s.cfg.Table); err != nil {
			err = fmt.Errorf("Config.OnCreate for the new table %s: %w", s.cfg.Table, err)
		}
	}
	return err
}

// makeTable makes the table if it does not exist, and waits until it can be used. created tells
// whether this call made the table.
func (s *Store) makeTable(ctx context.Context) (created bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tableTimeout, errTableTimeout)
	defer cancel()
	wait := retry.New(500*time.Millisecond, 5*time.Second)
	var status types.TableStatus
	began := time.Now()
	// The caller repeats a call that was throttled for long, and can report that. But a table that
	// this call made is waited for, because no other call runs OnCreate.
	givesUp := func() bool { return !created && time.Since(began) >= throttledTime }
	for {
		t, err := s.table.describe(ctx)
		switch {
		case errors.Is(err, leases.ErrTableNotFound):
			// DescribeTable may not know a table yet that was just made. Making it again does no harm.
			made, err := s.createTable(ctx)
			if err != nil && (!awserr.Throttled(err) || givesUp()) {
				return created, err
			}
			if made && !created {
				created = true
				continue // a small table can often be used at once
			}
		case awserr.Throttled(err) && givesUp():
			return created, err
		case awserr.Throttled(err):
			s.table.log(ctx).LogAttrs(ctx, slog.LevelWarn, "lease table cannot be described yet", slog.Any("err", err))
		case err != nil:
			return created, err
		default:
			if err := s.checkKey(t); err != nil {
				return created, err
			}
			status = t.TableStatus
			if status == types.TableStatusActive || status == types.TableStatusUpdating {
				s.table.size.remember(t.TableSizeBytes)
				s.warnOfReplicas(ctx, t)
				if created {
					s.table.log(ctx).LogAttrs(ctx, slog.LevelInfo, "lease table created")
				}
				return created, s.enableBackups(ctx, wait)
			}
			if created || status != types.TableStatusCreating {
				s.table.log(ctx).LogAttrs(ctx, slog.LevelDebug, "waiting for the lease table",
					slog.String("status", string(status)))
			}
		}
		if err := wait.Wait(ctx); err != nil {
			return created, fmt.Errorf("wait for table %s to become ACTIVE (it is %q): %w", s.cfg.Table, status, err)
		}
	}
}

// warnOfReplicas logs a warning of a global table. Its conditions hold within one region only, so
// workers in two regions could hold the same lease.
func (s *Store) warnOfReplicas(ctx context.Context, t *types.TableDescription) {
	if len(t.Replicas) == 0 {
		return
	}
	var regions []string
	for _, r := range t.Replicas {
		regions = append(regions, aws.ToString(r.RegionName))
	}
	s.table.log(ctx).LogAttrs(ctx, slog.LevelWarn, "lease table is a global table, "+
		"whose conditional writes hold within one region only: "+
		"use a table without replicas, or run workers in one region only", slog.Any("regions", regions))
}

// createTable calls CreateTable, and tells whether that made the table. It is no error if another
// worker was faster, or if the answer is lost: the next DescribeTable shows the table.
func (s *Store) createTable(ctx context.Context) (bool, error) {
	key := aws.String(attrKey)
	in := &sdk.CreateTableInput{
		TableName:                 &s.cfg.Table,
		KeySchema:                 []types.KeySchemaElement{{AttributeName: key, KeyType: types.KeyTypeHash}},
		BillingMode:               types.BillingModePayPerRequest,
		DeletionProtectionEnabled: aws.Bool(s.cfg.DeletionProtection),
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: key, AttributeType: types.ScalarAttributeTypeS},
		},
	}
	if s.cfg.ReadCapacity > 0 {
		in.BillingMode = types.BillingModeProvisioned
		in.ProvisionedThroughput = &types.ProvisionedThroughput{
			ReadCapacityUnits: &s.cfg.ReadCapacity, WriteCapacityUnits: &s.cfg.WriteCapacity,
		}
	}
	for k, v := range s.cfg.Tags {
		in.Tags = append(in.Tags, types.Tag{Key: &k, Value: &v})
	}
	_, err := callTable(ctx, s.table, "dynamodb:CreateTable", s.cfg.Client.CreateTable, in, noRetries)
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

// checkKey refuses a table of another layout.
func (s *Store) checkKey(t *types.TableDescription) error {
	const want = attrKey + " (S, HASH)"
	var found []string
	for _, k := range t.KeySchema {
		kind := types.ScalarAttributeType("?")
		for _, a := range t.AttributeDefinitions {
			if aws.ToString(a.AttributeName) == aws.ToString(k.AttributeName) {
				kind = a.AttributeType
			}
		}
		found = append(found, fmt.Sprintf("%s (%s, %s)", aws.ToString(k.AttributeName), kind, k.KeyType))
	}
	if slices.Equal(found, []string{want}) {
		return nil
	}
	return fmt.Errorf("%w: table %s has the key %s, a lease table has %s; "+
		"another application or library uses this table: set Config.Table to another name",
		leases.ErrForeignTable, s.cfg.Table, strings.Join(found, ", "), want)
}

// enableBackups switches point-in-time recovery on if Config.PointInTimeRecovery is set.
func (s *Store) enableBackups(ctx context.Context, wait *retry.Backoff) error {
	if !s.cfg.PointInTimeRecovery {
		return nil
	}
	client := s.cfg.Client
	out, err := callTable(ctx, s.table, "dynamodb:DescribeContinuousBackups", client.DescribeContinuousBackups,
		&sdk.DescribeContinuousBackupsInput{TableName: &s.cfg.Table})
	if err != nil {
		return err
	}
	if d := out.ContinuousBackupsDescription; d != nil {
		recovery := d.PointInTimeRecoveryDescription
		if recovery != nil && recovery.PointInTimeRecoveryStatus == types.PointInTimeRecoveryStatusEnabled {
			return nil
		}
	}
	enable := &sdk.UpdateContinuousBackupsInput{
		TableName:                        &s.cfg.Table,
		PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)},
	}
	for {
		_, err := callTable(ctx, s.table, "dynamodb:UpdateContinuousBackups", client.UpdateContinuousBackups, enable)
		// Backups cannot be switched on at once after the table was made.
		if !awserr.Throttled(err) && !isUnavailable(err) {
			return err
		}
		if wait.Wait(ctx) != nil {
			return err
		}
	}
}

// isUnavailable tells whether backups of the table cannot be switched on yet.
func isUnavailable(err error) bool {
	_, ok := errors.AsType[*types.ContinuousBackupsUnavailableException](err)
	return ok
}
