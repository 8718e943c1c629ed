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
	"github.com/kinesis-go/kcl/internal/pageguard"
	"github.com/kinesis-go/kcl/leases"
)

// ownerIndex is the index of the lease table by owner.
type ownerIndex struct{ table *table }

// EnsureIndex implements [leases.FleetStore] with DescribeTable and, when the index is missing,
// UpdateTable. The index gets the provisioned capacity of its table.
func (x ownerIndex) EnsureIndex(ctx context.Context) (bool, error) {
	t, err := x.table.describe(ctx)
	if err != nil {
		return false, err
	}
	keys := []types.KeySchemaElement{
		{AttributeName: aws.String(attrOwner), KeyType: types.KeyTypeHash},
		{AttributeName: aws.String(attrKey), KeyType: types.KeyTypeRange},
	}
	for _, found := range t.GlobalSecondaryIndexes {
		if aws.ToString(found.IndexName) != indexByOwner {
			continue
		}
		for i, k := range found.KeySchema {
			if len(found.KeySchema) != len(keys) || aws.ToString(k.AttributeName) != *keys[i].AttributeName {
				return false, fmt.Errorf("index %s of table %s has other keys than %s and %s: delete it, and it is made again",
					indexByOwner, x.table.name, attrOwner, attrKey)
			}
		}
		return found.IndexStatus == types.IndexStatusActive || found.IndexStatus == types.IndexStatusUpdating, nil
	}
	create := &types.CreateGlobalSecondaryIndexAction{
		IndexName: aws.String(indexByOwner), KeySchema: keys,
		Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
	}
	p := t.ProvisionedThroughput
	if p != nil && aws.ToInt64(p.ReadCapacityUnits) > 0 && aws.ToInt64(p.WriteCapacityUnits) > 0 {
		create.ProvisionedThroughput = &types.ProvisionedThroughput{
			ReadCapacityUnits: p.ReadCapacityUnits, WriteCapacityUnits: p.WriteCapacityUnits,
		}
	}
	_, err = callTable(ctx, x.table, "dynamodb:UpdateTable", x.table.client.UpdateTable, &sdk.UpdateTableInput{
		TableName: &x.table.name,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(attrOwner), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(attrKey), AttributeType: types.ScalarAttributeTypeS},
		},
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: create}},
	}, noRetries)
	// Another worker was faster, or the table is busy. The next call finds out.
	if awserr.Is(err, "ResourceInUseException", "LimitExceededException") {
		return false, nil
	}
	return false, err
}

// HasIndex implements [leases.FleetStore] with DescribeTable.
func (x ownerIndex) HasIndex(ctx context.Context) (bool, error) {
	t, err := x.table.describe(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(t.GlobalSecondaryIndexes, func(found types.GlobalSecondaryIndexDescription) bool {
		return aws.ToString(found.IndexName) == indexByOwner
	}), nil
}

// OwnedBy implements [leases.FleetStore] with a paged Query.
func (x ownerIndex) OwnedBy(ctx context.Context, worker string) ([]string, error) {
	if worker == "" {
		return nil, errors.New("query the leases of a worker: the worker has no id")
	}
	e := newExpression()
	in := &sdk.QueryInput{
		TableName: &x.table.name, IndexName: aws.String(indexByOwner),
		KeyConditionExpression:   aws.String(e.equals(item{attrOwner: str(worker)}, attrOwner)),
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}
	var keys []string
	for pages := (pageguard.Guard{}); ; {
		page, err := callPage(ctx, x.table, "dynamodb:Query", x.table.client.Query, in)
		// The service has no code of its own for an index that does not exist or is being built. Apart
		// from that, the request is valid.
		if awserr.Is(err, "ValidationException") {
			return nil, fmt.Errorf("%w: %w", leases.ErrNoIndex, err)
		}
		if err != nil {
			return nil, err
		}
		for _, it := range page.Items {
			if key := textOf(it, attrKey); key != "" {
				keys = append(keys, key)
			}
		}
		if more, err := pages.Next("dynamodb:Query", x.table.name, page.LastEvaluatedKey); !more {
			return keys, err
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
}
