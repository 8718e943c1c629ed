package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// states are what a migration's state may be, by the attribute that holds it.
var states = map[string]map[string]bool{
	attrClientVersion: {
		leases.ClientVersionInit: true, leases.ClientVersionUpgradeFrom2x: true, leases.ClientVersion2x: true,
		leases.ClientVersion3xRollback: true, leases.ClientVersion3x: true,
	},
	attrTableMigration: {
		leases.TableMigrationInit: true, leases.TableMigrationDeployed: true,
		leases.TableMigrationPending: true, leases.TableMigrationComplete: true,
	},
}

// state encodes a state, without its history.
func state(attribute string, m leases.MigrationState) (item, error) {
	if !states[attribute][m.Status] || m.By == "" || m.At.UnixMilli() <= 0 {
		return nil, fmt.Errorf("migration state %q by %q at %v cannot be written", m.Status, m.By, m.At)
	}
	return item{attribute: str(m.Status), attrModifiedBy: str(m.By), attrModifiedAt: integer(m.At.UnixMilli())}, nil
}

// decodeMigration reads a state. Its history is of no use to anyone but people.
func decodeMigration(it item, key, attribute string) (leases.MigrationState, *leases.RowError) {
	r := &reader{item: it}
	m := leases.MigrationState{Status: r.text(attribute), By: r.text(attrModifiedBy)}
	if ms := r.integer(attrModifiedAt, math.MaxInt64/int64(time.Millisecond), false); ms > 0 {
		m.At = time.UnixMilli(ms).UTC()
	}
	if !states[attribute][m.Status] {
		r.wrong(attribute, "a state of this migration; a newer library may know it")
	}
	if err := errors.Join(r.problems...); err != nil {
		return m, &leases.RowError{Key: textOf(it, key), Err: err}
	}
	return m, nil
}

// withHistory adds what a state was to its history.
func withHistory(it, old item, attribute string) {
	past := item{}
	for _, name := range []string{attribute, attrModifiedBy, attrModifiedAt} {
		if v := old[name]; v != nil {
			past[name] = v
		}
	}
	list := []types.AttributeValue{&types.AttributeValueMemberM{Value: past}}
	if h, ok := old[attrHistory].(*types.AttributeValueMemberL); ok {
		list = append(list, h.Value...)
	}
	it[attrHistory] = &types.AttributeValueMemberL{Value: list[:min(len(list), maxHistory)]}
}

// clientVersion finds the state of the move from KCL 2.x, and says where it is,
// or would be made.
func (s *Store) clientVersion(ctx context.Context, r route) (item, place, error) {
	if !r.single() {
		p := s.coordinatorTable()
		if it, err := p.get(ctx, keyClientVersion); err != nil || it != nil {
			return it, p, err
		}
	}
	it, err := s.leaseTable().get(ctx, keyClientVersion)
	if it == nil && !r.writesToLeaseTable(s.cfg.MigrateToLeaseTable) {
		return nil, s.coordinatorTable(), err
	}
	return it, s.leaseTable(), err
}

// Migrations implements [leases.FleetStore]: it looks for the side tables of KCL
// 3.0 to 3.4, and reads consistently.
func (s *Store) Migrations(ctx context.Context) (leases.Migrations, error) {
	tm, _, r, err := s.tableMigration(ctx)
	if errors.Is(err, kcl.ErrAccessDenied) {
		err = s.denied(ctx, err)
	}
	if err != nil {
		return leases.Migrations{}, err
	}
	m := leases.Migrations{
		SideTables: (r.coordinator || r.metrics) && !r.layouts.stray, Wanted: s.cfg.MigrateToLeaseTable,
		Apart: r.layouts.apart, Split: r.layouts.split,
	}
	if tm != nil && !r.layouts.stray {
		m.Table = &r.migration
	}
	cv, where, err := s.clientVersion(ctx, r)
	if err != nil {
		return leases.Migrations{}, err
	}
	if cv != nil {
		state, bad := decodeMigration(cv, where.key, attrClientVersion)
		if bad != nil {
			return leases.Migrations{}, bad
		}
		m.ClientVersion = &state
	}
	return m, nil
}

// denied says what it means that the side tables cannot be seen: nothing, where
// nobody uses KCL 3.x; but in a table of KCL 3.5 a leader assigns the leases, and
// a worker that did not know would work against it.
func (s *Store) denied(ctx context.Context, err error) error {
	it, _ := s.leaseTable().get(ctx, keyClientVersion)
	switch status := textOf(it, attrClientVersion); status {
	case leases.ClientVersion3x, leases.ClientVersion3xRollback:
		return fmt.Errorf("%w: table %s is one of KCL 3.x (%s), and this worker may not see what that takes; it needs the rights of docs/iam/kcl3.json: %v", leases.ErrMixedAssignment, s.cfg.Table, status, err) //nolint:errorlint // not what a caller is to see
	}
	return err
}

// SetClientVersion implements [leases.FleetStore] with one conditional write. A
// state that is new begins its history with CLIENT_VERSION_INIT, as the KCL has
// it.
func (s *Store) SetClientVersion(ctx context.Context, read *leases.MigrationState, to leases.MigrationState) error {
	r, err := s.route(ctx, true)
	if err != nil {
		return err
	}
	old, p, err := s.clientVersion(ctx, r)
	if err != nil {
		return err
	}
	if read == nil {
		before, err := state(attrClientVersion, leases.MigrationState{Status: leases.ClientVersionInit, By: to.By, At: to.At})
		if err != nil {
			return err
		}
		return p.begin(ctx, keyClientVersion, entityClientVersion, attrClientVersion, to, before)
	}
	return p.proceed(ctx, keyClientVersion, attrClientVersion, old, *read, to)
}

// begin makes a state that is not there. before is what its history begins with.
func (p place) begin(ctx context.Context, id, kind, attribute string, to leases.MigrationState, before item) error {
	it, err := state(attribute, to)
	if err != nil {
		return err
	}
	maps.Copy(it, p.entity(id, kind))
	if before != nil {
		withHistory(it, before, attribute)
	}
	e := newExpression()
	return p.put(ctx, it, e, e.absent(p.key))
}

// proceed writes a state over old, which has just been read, if that is what the
// caller had read.
func (p place) proceed(ctx context.Context, id, attribute string, old item, read, to leases.MigrationState) error {
	it, err := state(attribute, to)
	if err != nil {
		return err
	}
	if !isState(old, attribute, read) {
		return &leases.ConflictError{Key: id}
	}
	it[p.key] = str(id)
	withHistory(it, old, attribute)
	e := newExpression()
	return p.update(ctx, it, e, p.unchanged(e, old, attribute))
}

// isState tells whether an item holds a state.
func isState(it item, attribute string, m leases.MigrationState) bool {
	found, bad := decodeMigration(it, "", attribute)
	return bad == nil && found.Status == m.Status && found.At.Equal(m.At)
}

// unchanged is the condition that a state is still the one of old.
func (p place) unchanged(e *expression, old item, attribute string) string {
	condition := e.exists(p.key) + " AND " + e.equals(old, attribute)
	if old[attrModifiedAt] != nil {
		condition += " AND " + e.equals(old, attrModifiedAt)
	}
	return condition
}

// SetTableMigration implements [leases.FleetStore]. COMPLETE is written into
// both tables in one transaction, which holds only while to.By has the lock;
// that is then removed from the side table, where nobody looks for it any more.
func (s *Store) SetTableMigration(ctx context.Context, read *leases.MigrationState, to leases.MigrationState) error {
	old, p, r, err := s.tableMigration(ctx)
	if err != nil {
		return err
	}
	defer s.keepRoute(route{})
	switch {
	case !r.coordinator:
		return fmt.Errorf("table %s does not exist, so there is nothing to migrate: %w", s.coordinatorTable().cfg.Table, leases.ErrTableNotFound)
	case read == nil && to.Status == "":
		return nil
	case read == nil:
		return s.coordinatorTable().begin(ctx, keyTableMigration, entityTableMigration, attrTableMigration, to, nil)
	case !isState(old, attrTableMigration, *read):
		return &leases.ConflictError{Key: keyTableMigration}
	case to.Status == "":
		e := newExpression()
		return p.remove(ctx, keyTableMigration, e, p.unchanged(e, old, attrTableMigration))
	case to.Status == leases.TableMigrationComplete && p.side:
		return s.complete(ctx, old, to)
	}
	return p.proceed(ctx, keyTableMigration, attrTableMigration, old, *read, to)
}
