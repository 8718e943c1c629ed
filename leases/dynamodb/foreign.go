package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/gokcl"
)

// GoKCLTable is a lease table of vmware-go-kcl or one of its forks: kclctl
// reads it to import its checkpoints, and writes it to export ours. It is no
// [leases.Store]. It is safe for concurrent use.
type GoKCLTable struct {
	table *table
}

// NewGoKCLTable returns the table that cfg names; of cfg only Client, Table,
// RequestTimeout and Logger count. It calls nobody.
func NewGoKCLTable(cfg Config) *GoKCLTable { return &GoKCLTable{newTable(cfg, gokcl.FieldShardID)} }

// Init makes the table, on demand, if it does not exist, and waits until it can
// be used. A table of another layout is an error that wraps
// [leases.ErrForeignTable].
func (g *GoKCLTable) Init(ctx context.Context) error {
	err := g.check(ctx)
	if !errors.Is(err, leases.ErrTableNotFound) {
		return err
	}
	_, err = call(ctx, g.table, "dynamodb:CreateTable", g.table.client.CreateTable, &sdk.CreateTableInput{
		TableName:            &g.table.name,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String(gokcl.FieldShardID), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String(gokcl.FieldShardID), KeyType: types.KeyTypeHash}},
		BillingMode:          types.BillingModePayPerRequest,
	}, once)
	if err != nil && !awserr.Is(err, "ResourceInUseException") {
		return err
	}
	if err := sdk.NewTableExistsWaiter(g.table.client).Wait(ctx, &sdk.DescribeTableInput{TableName: &g.table.name}, tableTimeout); err != nil {
		return fmt.Errorf("wait for table %s to become ACTIVE: %w", g.table.name, err)
	}
	return g.check(ctx)
}

// check refuses a table of another layout.
func (g *GoKCLTable) check(ctx context.Context) error {
	t, err := g.table.describe(ctx)
	if err != nil {
		return err
	}
	keys := t.KeySchema
	if len(keys) == 1 && aws.ToString(keys[0].AttributeName) == gokcl.FieldShardID {
		return nil
	}
	var names []string
	for _, k := range keys {
		names = append(names, aws.ToString(k.AttributeName))
	}
	if slices.Equal(names, []string{attrKey}) {
		return fmt.Errorf("%w of go-kcl: table %s has the key %s: it is one of this library or of the Java KCL, and is used as it is", leases.ErrForeignTable, g.table.name, attrKey)
	}
	return fmt.Errorf("%w of go-kcl: table %s has the key %q, not %s", leases.ErrForeignTable, g.table.name, names, gokcl.FieldShardID)
}

// List returns all rows, in no order, as they are now, and what is wrong with
// those that cannot be read.
func (g *GoKCLTable) List(ctx context.Context) ([]gokcl.Row, []*leases.RowError, error) {
	if err := g.check(ctx); err != nil {
		return nil, nil, err
	}
	var rows []gokcl.Row
	var damaged []*leases.RowError
	in := &sdk.ScanInput{TableName: &g.table.name, ConsistentRead: aws.Bool(true)}
	err := g.table.scanSegment(ctx, in, func(it item) {
		if r, bad := decodeGoKCL(it); bad != nil {
			damaged = append(damaged, bad)
		} else {
			rows = append(rows, r)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return rows, damaged, nil
}

// decodeGoKCL reads an item, whose attributes are all strings.
func decodeGoKCL(it item) (gokcl.Row, *leases.RowError) {
	fields := map[string]string{}
	var problems []error
	for _, name := range gokcl.Fields {
		switch v := it[name].(type) {
		case nil:
		case *types.AttributeValueMemberS:
			fields[name] = v.Value
		default:
			problems = append(problems, fmt.Errorf("%s is %s, want a string (S)", name, describe(v)))
		}
	}
	r, bad := gokcl.Decode(fields)
	if bad != nil {
		problems = append(problems, bad.Err)
	}
	if err := errors.Join(problems...); err != nil {
		return r, &leases.RowError{Key: r.ShardID, Err: err}
	}
	return r, nil
}

// Get returns one row as it is now. The error wraps [leases.ErrNotFound] when
// there is none, and is a [*leases.RowError] when it cannot be read.
func (g *GoKCLTable) Get(ctx context.Context, shardID string) (gokcl.Row, error) {
	it, err := g.table.get(ctx, shardID)
	switch {
	case err != nil:
		return gokcl.Row{}, err
	case it == nil:
		return gokcl.Row{}, fmt.Errorf("%w: %q in table %s", leases.ErrNotFound, shardID, g.table.name)
	}
	r, bad := decodeGoKCL(it)
	if bad != nil {
		return gokcl.Row{}, bad
	}
	return r, nil
}

// Create makes a row. When there is one with its shard id, that one is left as
// it is and returned.
func (g *GoKCLTable) Create(ctx context.Context, r gokcl.Row) (existing *gokcl.Row, err error) {
	it := item{}
	for name, value := range r.Encode() {
		it[name] = str(value)
	}
	_, err = call(ctx, g.table, "dynamodb:PutItem", g.table.client.PutItem, &sdk.PutItemInput{
		TableName: &g.table.name, Item: it,
		ConditionExpression:                 aws.String("attribute_not_exists(#key)"),
		ExpressionAttributeNames:            map[string]string{"#key": gokcl.FieldShardID},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, once)
	failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !ok {
		return nil, err
	}
	row, bad := decodeGoKCL(failed.Item)
	if len(failed.Item) == 0 { // a server that does not return it
		if row, err = g.Get(ctx, r.ShardID); err != nil {
			return nil, err
		}
	} else if bad != nil {
		return nil, bad
	}
	return &row, nil
}
