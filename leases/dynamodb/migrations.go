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

// migrationStates keeps the states of the moves from KCL 2.x to 3.x and to a single table.
type migrationStates struct{ routes *routes }

// clientVersion finds the state of the move from KCL 2.x, and says where it is,
// or would be made.
func (m migrationStates) clientVersion(ctx context.Context, r route) (item, *table, error) {
	if !r.single() {
		t := m.routes.coordinator
		if it, err := t.get(ctx, keyClientVersion); err != nil || it != nil {
			return it, t, err
		}
	}
	it, err := m.routes.leaseTable.get(ctx, keyClientVersion)
	if it == nil && !r.writesToLeaseTable(m.routes.migrate) {
		return nil, m.routes.coordinator, err
	}
	return it, m.routes.leaseTable, err
}

// Migrations implements [leases.FleetStore]: it looks for the side tables of KCL
// 3.0 to 3.4, and reads consistently.
func (m migrationStates) Migrations(ctx context.Context) (leases.Migrations, error) {
	tm, _, r, err := m.routes.tableMigration(ctx)
	if errors.Is(err, kcl.ErrAccessDenied) {
		err = m.denied(ctx, err)
	}
	if err != nil {
		return leases.Migrations{}, err
	}
	out := leases.Migrations{
		SideTables: (r.coordinator || r.metrics) && !r.layouts.stray, Wanted: m.routes.migrate,
		Apart: r.layouts.apart, Split: r.layouts.split,
	}
	if tm != nil && !r.layouts.stray {
		out.Table = &r.migration
	}
	cv, where, err := m.clientVersion(ctx, r)
	if err != nil {
		return leases.Migrations{}, err
	}
	if cv != nil {
		state, bad := decodeMigration(cv, where.key, attrClientVersion)
		if bad != nil {
			return leases.Migrations{}, bad
		}
		out.ClientVersion = &state
	}
	return out, nil
}

// denied returns the error of a worker that may not see the side tables. Where nobody uses
// KCL 3.x, that is err alone. In a table of KCL 3.5 a leader assigns the leases. A worker that
// did not know would work against the leader.
func (m migrationStates) denied(ctx context.Context, err error) error {
	it, _ := m.routes.leaseTable.get(ctx, keyClientVersion)
	switch status := textOf(it, attrClientVersion); status {
	case leases.ClientVersion3x, leases.ClientVersion3xRollback:
		// A caller must not take this for a denied call, so err is not wrapped.
		return fmt.Errorf("%w: table %s is one of KCL 3.x (%s), and this worker has no right to see the tables beside it: "+
			"allow the actions in docs/iam/kcl3.json: %v", leases.ErrMixedAssignment, m.routes.leaseTable.name, status, err)
	}
	return err
}

// SetClientVersion implements [leases.FleetStore] with one conditional write. A
// state that is new begins its history with CLIENT_VERSION_INIT, as the KCL has
// it.
func (m migrationStates) SetClientVersion(ctx context.Context, read *leases.MigrationState, to leases.MigrationState) error {
	r, err := m.routes.route(ctx, true)
	if err != nil {
		return err
	}
	old, t, err := m.clientVersion(ctx, r)
	if err != nil {
		return err
	}
	if read == nil {
		before, err := state(attrClientVersion, leases.MigrationState{Status: leases.ClientVersionInit, By: to.By, At: to.At})
		if err != nil {
			return err
		}
		return t.begin(ctx, keyClientVersion, entityClientVersion, attrClientVersion, to, before)
	}
	return t.proceed(ctx, keyClientVersion, attrClientVersion, old, *read, to)
}

// begin makes a state that is not there. before is what its history begins with.
func (t *table) begin(ctx context.Context, id, kind, attribute string, to leases.MigrationState, before item) error {
	it, err := state(attribute, to)
	if err != nil {
		return err
	}
	maps.Copy(it, t.entity(id, kind))
	if before != nil {
		withHistory(it, before, attribute)
	}
	e := newExpression()
	return t.put(ctx, it, e, e.absent(t.key))
}

// proceed writes a state over old, which has just been read, if that is what the
// caller had read.
func (t *table) proceed(ctx context.Context, id, attribute string, old item, read, to leases.MigrationState) error {
	it, err := state(attribute, to)
	if err != nil {
		return err
	}
	if !isState(old, attribute, read) {
		return &leases.ConflictError{Key: id}
	}
	it[t.key] = str(id)
	withHistory(it, old, attribute)
	e := newExpression()
	return t.update(ctx, it, e, t.unchanged(e, old, attribute))
}

// isState tells whether an item holds a state.
func isState(it item, attribute string, m leases.MigrationState) bool {
	found, bad := decodeMigration(it, "", attribute)
	return bad == nil && found.Status == m.Status && found.At.Equal(m.At)
}

// unchanged is the condition that a state is still the one of old.
func (t *table) unchanged(e *expression, old item, attribute string) string {
	condition := e.exists(t.key) + " AND " + e.equals(old, attribute)
	if old[attrModifiedAt] != nil {
		condition += " AND " + e.equals(old, attrModifiedAt)
	}
	return condition
}

// SetTableMigration implements [leases.FleetStore]. COMPLETE is written into
// both tables in one transaction, which holds only while to.By has the lock;
// that is then removed from the side table, where nobody looks for it any more.
func (m migrationStates) SetTableMigration(ctx context.Context, read *leases.MigrationState, to leases.MigrationState) error {
	old, t, r, err := m.routes.tableMigration(ctx)
	if err != nil {
		return err
	}
	defer m.routes.keep(route{})
	switch {
	case !r.coordinator:
		return fmt.Errorf("table %s does not exist, so there is nothing to migrate: %w", m.routes.coordinator.name, leases.ErrTableNotFound)
	case read == nil && to.Status == "":
		return nil
	case read == nil:
		return m.routes.coordinator.begin(ctx, keyTableMigration, entityTableMigration, attrTableMigration, to, nil)
	case !isState(old, attrTableMigration, *read):
		return &leases.ConflictError{Key: keyTableMigration}
	case to.Status == "":
		e := newExpression()
		return t.remove(ctx, keyTableMigration, e, t.unchanged(e, old, attrTableMigration))
	case to.Status == leases.TableMigrationComplete && t.side:
		return m.complete(ctx, old, to)
	}
	return t.proceed(ctx, keyTableMigration, attrTableMigration, old, *read, to)
}
