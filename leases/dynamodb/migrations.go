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

// knownStates are the states that a migration can have, by the attribute that holds the state.
var knownStates = map[string]map[string]bool{
	attrClientVersion: {
		leases.ClientVersionInit: true, leases.ClientVersionUpgradeFrom2x: true, leases.ClientVersion2x: true,
		leases.ClientVersion3xRollback: true, leases.ClientVersion3x: true,
	},
	attrTableMigration: {
		leases.TableMigrationInit: true, leases.TableMigrationDeployed: true,
		leases.TableMigrationPending: true, leases.TableMigrationComplete: true,
	},
}

// encodeState returns the attributes of a state, without its history.
func encodeState(attribute string, m leases.MigrationState) (item, error) {
	if !knownStates[attribute][m.Status] || m.By == "" || m.At.UnixMilli() <= 0 {
		return nil, fmt.Errorf("migration state %q by %q at %v cannot be written", m.Status, m.By, m.At)
	}
	return item{attribute: str(m.Status), attrModifiedBy: str(m.By), attrModifiedAt: integer(m.At.UnixMilli())}, nil
}

// decodeMigration reads a state. It leaves out the history, which only people read. key is the name
// of the hash key of the table.
func decodeMigration(it item, key, attribute string) (leases.MigrationState, *leases.RowError) {
	r := &reader{item: it}
	m := leases.MigrationState{Status: r.text(attribute), By: r.text(attrModifiedBy)}
	if ms := r.integer(attrModifiedAt, math.MaxInt64/int64(time.Millisecond), false); ms > 0 {
		m.At = time.UnixMilli(ms).UTC()
	}
	if !knownStates[attribute][m.Status] {
		r.wrong(attribute, "a state of this migration; a newer library may know it")
	}
	if err := errors.Join(r.problems...); err != nil {
		return m, &leases.RowError{Key: textOf(it, key), Err: err}
	}
	return m, nil
}

// addHistory sets the history of the state it: the state of old, and the history of old.
func addHistory(it, old item, attribute string) {
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

// clientVersion reads the state of the move from KCL 2.x. It returns the table that has the state,
// or the table in which the state has to be made.
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

// Migrations implements [leases.FleetStore] with consistent reads. It looks for the side tables of
// KCL 3.0 to 3.4.
func (m migrationStates) Migrations(ctx context.Context) (leases.Migrations, error) {
	tm, _, r, err := m.routes.tableMigration(ctx)
	if errors.Is(err, kcl.ErrAccessDenied) {
		err = m.explainDenied(ctx, err)
	}
	if err != nil {
		return leases.Migrations{}, err
	}
	out := leases.Migrations{
		SideTables: (r.coordinator || r.metrics) && !r.layouts.strayCoordinator, MoveRequested: m.routes.migrate,
		TableConflict: r.layouts.conflict, BothTablesUsed: r.layouts.bothUsed,
	}
	if tm != nil && !r.layouts.strayCoordinator {
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

// explainDenied returns the error of a worker that may not see the side tables. If no worker uses
// KCL 3.x, it is err. On a table of KCL 3.5 a leader assigns the leases. A worker that did not know
// would work against the leader.
func (m migrationStates) explainDenied(ctx context.Context, err error) error {
	it, _ := m.routes.leaseTable.get(ctx, keyClientVersion)
	switch status := textOf(it, attrClientVersion); status {
	case leases.ClientVersion3x, leases.ClientVersion3xRollback:
		// err is not wrapped, because the caller must not take the result for a denied call.
		return fmt.Errorf("%w: table %s is one of KCL 3.x (%s), and this worker has no right to see the tables beside it: "+
			"allow the actions in docs/iam/kcl3.json: %v", leases.ErrMixedAssignment, m.routes.leaseTable.name, status, err)
	}
	return err
}

// SetClientVersion implements [leases.FleetStore] with one conditional write. As in the KCL, the
// history of a new state begins with CLIENT_VERSION_INIT.
func (m migrationStates) SetClientVersion(
	ctx context.Context, read *leases.MigrationState, to leases.MigrationState,
) error {
	r, err := m.routes.route(ctx, true)
	if err != nil {
		return err
	}
	old, t, err := m.clientVersion(ctx, r)
	if err != nil {
		return err
	}
	if read == nil {
		first := leases.MigrationState{Status: leases.ClientVersionInit, By: to.By, At: to.At}
		before, err := encodeState(attrClientVersion, first)
		if err != nil {
			return err
		}
		return t.createState(ctx, keyClientVersion, entityClientVersion, attrClientVersion, to, before)
	}
	return t.replaceState(ctx, keyClientVersion, attrClientVersion, old, *read, to)
}

// createState makes a state that does not exist. before is the state with which its history begins,
// or nil.
func (t *table) createState(
	ctx context.Context, id, kind, attribute string, to leases.MigrationState, before item,
) error {
	it, err := encodeState(attribute, to)
	if err != nil {
		return err
	}
	maps.Copy(it, t.entity(id, kind))
	if before != nil {
		addHistory(it, before, attribute)
	}
	e := newExpression()
	return t.put(ctx, it, e, e.absent(t.key))
}

// replaceState writes the state to over old, which has just been read, if old is the state read.
// The caller has read the state read before.
func (t *table) replaceState(
	ctx context.Context, id, attribute string, old item, read, to leases.MigrationState,
) error {
	it, err := encodeState(attribute, to)
	if err != nil {
		return err
	}
	if !isState(old, attribute, read) {
		return &leases.ConflictError{Key: id}
	}
	it[t.key] = str(id)
	addHistory(it, old, attribute)
	e := newExpression()
	return t.update(ctx, it, e, t.unchangedState(e, old, attribute))
}

// isState tells whether an item holds the state m.
func isState(it item, attribute string, m leases.MigrationState) bool {
	found, bad := decodeMigration(it, "", attribute)
	return bad == nil && found.Status == m.Status && found.At.Equal(m.At)
}

// unchangedState is the condition that a state is still the state of old.
func (t *table) unchangedState(e *expression, old item, attribute string) string {
	condition := e.exists(t.key) + " AND " + e.equals(old, attribute)
	if old[attrModifiedAt] != nil {
		condition += " AND " + e.equals(old, attrModifiedAt)
	}
	return condition
}

// SetTableMigration implements [leases.FleetStore]. It writes COMPLETE into both tables in one
// transaction, which fails unless to.By has the lock. Then it removes the lock from the side table,
// because no worker looks there any more.
func (m migrationStates) SetTableMigration(
	ctx context.Context, read *leases.MigrationState, to leases.MigrationState,
) error {
	old, t, r, err := m.routes.tableMigration(ctx)
	if err != nil {
		return err
	}
	defer m.routes.remember(route{})
	switch {
	case !r.coordinator:
		return fmt.Errorf("table %s does not exist, so there is nothing to migrate: %w",
			m.routes.coordinator.name, leases.ErrTableNotFound)
	case read == nil && to.Status == "":
		return nil
	case read == nil:
		return m.routes.coordinator.createState(ctx, keyTableMigration, entityTableMigration, attrTableMigration, to, nil)
	case !isState(old, attrTableMigration, *read):
		return &leases.ConflictError{Key: keyTableMigration}
	case to.Status == "":
		e := newExpression()
		return t.remove(ctx, keyTableMigration, e, t.unchangedState(e, old, attrTableMigration))
	case to.Status == leases.TableMigrationComplete && t.side:
		return m.completeMigration(ctx, old, to)
	}
	return t.replaceState(ctx, keyTableMigration, attrTableMigration, old, *read, to)
}
