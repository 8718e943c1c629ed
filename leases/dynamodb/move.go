package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/leases"
)

// moveBatch is the number of items that one transaction moves, as in the KCL.
const moveBatch = 25

// transaction collects writes that happen together or not at all.
type transaction struct {
	items []types.TransactWriteItem
	keys  []string // of the items, for errors
}

func (x *transaction) add(key string, it types.TransactWriteItem) {
	x.items, x.keys = append(x.items, it), append(x.keys, key)
}

// requireLeader adds the condition that worker has the lock in the side table t.
func (x *transaction) requireLeader(t *table, worker string) {
	e := newExpression()
	condition := e.equals(item{attrLockOwner: str(worker)}, attrLockOwner)
	x.add(keyLeader, types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
		TableName: &t.name, Key: t.id(keyLeader), ConditionExpression: &condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}})
}

// put adds a write of a whole item.
func (x *transaction) put(t *table, it item, e *expression, condition string) {
	x.add(textOf(it, t.key), types.TransactWriteItem{Put: &types.Put{
		TableName: &t.name, Item: it, ConditionExpression: &condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.valuesOrNil(),
	}})
}

// remove adds a deletion.
func (x *transaction) remove(t *table, id string, e *expression, condition string) {
	x.add(id, types.TransactWriteItem{Delete: &types.Delete{
		TableName: &t.name, Key: t.id(id), ConditionExpression: &condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.valuesOrNil(),
	}})
}

// commit makes the writes. Errors name t, which is one of the tables. The SDK gives the writes a
// token, so that they happen once although it may repeat the request.
func (x *transaction) commit(ctx context.Context, t *table) error {
	in := &sdk.TransactWriteItemsInput{TransactItems: x.items}
	_, err := callTable(ctx, t, "dynamodb:TransactWriteItems", t.client.TransactWriteItems, in, t.shortWaits)
	if cancelled, ok := errors.AsType[*types.TransactionCanceledException](err); ok {
		for i, r := range cancelled.CancellationReasons {
			if aws.ToString(r.Code) == "ConditionalCheckFailed" && i < len(x.keys) {
				return &leases.ConflictError{Key: x.keys[i]}
			}
		}
	}
	return err
}

// completeMigration ends the migration to a single table.
func (m migrationStates) completeMigration(ctx context.Context, old item, to leases.MigrationState) error {
	side, own := m.routes.coordinator, m.routes.leaseTable
	it, err := encodeState(attrTableMigration, to)
	if err != nil {
		return err
	}
	addHistory(it, old, attrTableMigration)
	var x transaction
	x.requireLeader(side, to.By)
	whole := own.entity(keyTableMigration, entityTableMigration)
	maps.Copy(whole, it)
	e := newExpression()
	x.put(own, whole, e, e.absent(own.key))
	whole = maps.Clone(old)
	maps.Copy(whole, it)
	e = newExpression()
	x.put(side, whole, e, side.unchangedState(e, old, attrTableMigration))
	if err := x.commit(ctx, own); err != nil {
		return err
	}
	e = newExpression()
	if err := side.remove(ctx, keyLeader, e, e.equals(item{attrLockOwner: str(to.By)}, attrLockOwner)); err != nil {
		own.log(ctx).LogAttrs(ctx, slog.LevelDebug, "lock of the leader stays in the side table, where it does no harm",
			slog.Any("err", err))
	}
	return nil
}

// MoveToLeaseTable implements [leases.FleetStore]. It moves the items of the table
// <Table>-CoordinatorState, 25 in a transaction. It does not move the metrics in
// <Table>-WorkerMetricStats. Living workers have already written theirs into the lease table, and
// nobody needs those of dead workers.
func (m migrationStates) MoveToLeaseTable(ctx context.Context, mine leases.LeaderLock) error {
	r, err := m.routes.route(ctx, true)
	switch {
	case err != nil:
		return err
	case !r.coordinator || r.migration.Status == leases.TableMigrationComplete:
		return nil
	case r.migration.Status != leases.TableMigrationDeployed && r.migration.Status != leases.TableMigrationPending:
		return fmt.Errorf("items cannot be moved into table %s in state %q of the migration: "+
			"workers of KCL 3.0 to 3.4 may be running, which cannot read them there",
			m.routes.leaseTable.name, r.migration.Status)
	}
	items, err := m.itemsToMove(ctx)
	if err != nil {
		return err
	}
	side, own := m.routes.coordinator, m.routes.leaseTable
	for batch := range slices.Chunk(items, moveBatch) {
		var x transaction
		x.requireLeader(side, mine.Owner)
		for _, row := range batch {
			e := newExpression()
			x.put(own, row.item, e, e.absent(own.key))
			e = newExpression()
			x.remove(side, row.id, e, side.unchangedItem(e, row.old))
		}
		if err := x.commit(ctx, own); err != nil {
			return err
		}
	}
	if items, err = m.itemsToMove(ctx); err == nil && len(items) > 0 {
		err = fmt.Errorf("table %s got new items while it was emptied (%s and others): move them again",
			side.name, items[0].id)
	}
	return err
}

// movedItem is an item on its way from the side table to the lease table.
type movedItem struct {
	id   string
	old  item // in the side table
	item item // in the lease table
}

// unchangedItem is the condition that the strings and numbers of an item are those of old.
func (t *table) unchangedItem(e *expression, old item) string {
	condition := e.exists(t.key)
	for _, name := range slices.Sorted(maps.Keys(old)) {
		switch old[name].(type) {
		case *types.AttributeValueMemberS, *types.AttributeValueMemberN:
			if name != t.key {
				condition += " AND " + e.equals(old, name)
			}
		}
	}
	return condition
}

// itemsToMove returns the items of the side table that have to be moved. The error names the items
// whose kind is not known.
func (m migrationStates) itemsToMove(ctx context.Context) ([]movedItem, error) {
	side := m.routes.coordinator
	var out []movedItem
	var problems []error
	err := side.scan(ctx, true, func(it item) {
		id := textOf(it, side.key)
		if id == keyLeader || id == keyTableMigration {
			return
		}
		kind := textOf(it, attrEntityType)
		switch {
		case kind != "":
		case id == keyClientVersion:
			kind = entityClientVersion
		case it[attrStreamID] != nil:
			kind = entityStream
		default:
			problems = append(problems, &leases.RowError{Key: id, Err: fmt.Errorf("item of table %s is of an unknown kind: "+
				"delete it, or the table cannot be migrated", side.name)})
			return
		}
		fresh := maps.Clone(it)
		delete(fresh, side.key)
		fresh[attrKey], fresh[attrEntityType] = str(id), str(kind)
		out = append(out, movedItem{id: id, old: it, item: fresh})
	})
	return out, errors.Join(err, errors.Join(problems...))
}
