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
)

// EnsureIndex implements [leases.FleetStore] with DescribeTable and, when the
// index is missing, UpdateTable. The index of a table with provisioned capacity
// gets the same.
func (s *Store) EnsureIndex(ctx context.Context) (bool, error) {
	t, err := s.describe(ctx)
	if err != nil {
		return false, err
	}
	keys := []types.KeySchemaElement{{AttributeName: aws.String(attrOwner), KeyType: types.KeyTypeHash}, {AttributeName: aws.String(attrKey), KeyType: types.KeyTypeRange}}
	for _, x := range t.GlobalSecondaryIndexes {
		if aws.ToString(x.IndexName) != indexByOwner {
			continue
		}
		for i, k := range x.KeySchema {
			if len(x.KeySchema) != len(keys) || aws.ToString(k.AttributeName) != *keys[i].AttributeName {
				return false, fmt.Errorf("index %s of table %s has other keys than %s and %s: delete it, and it is made again", indexByOwner, s.cfg.Table, attrOwner, attrKey)
			}
		}
		return x.IndexStatus == types.IndexStatusActive || x.IndexStatus == types.IndexStatusUpdating, nil
	}
	create := &types.CreateGlobalSecondaryIndexAction{
		IndexName: aws.String(indexByOwner), KeySchema: keys,
		Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
	}
	if p := t.ProvisionedThroughput; p != nil && aws.ToInt64(p.ReadCapacityUnits) > 0 && aws.ToInt64(p.WriteCapacityUnits) > 0 {
		create.ProvisionedThroughput = &types.ProvisionedThroughput{ReadCapacityUnits: p.ReadCapacityUnits, WriteCapacityUnits: p.WriteCapacityUnits}
	}
	_, err = call(ctx, s, "dynamodb:UpdateTable", s.cfg.Client.UpdateTable, &sdk.UpdateTableInput{
		TableName: &s.cfg.Table,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(attrOwner), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(attrKey), AttributeType: types.ScalarAttributeTypeS},
		},
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: create}},
	}, once)
	// Another worker was faster, or the table is busy: the next look tells.
	if awserr.Is(err, "ResourceInUseException", "LimitExceededException") {
		return false, nil
	}
	return false, err
}

// HasIndex implements [leases.FleetStore] with DescribeTable.
func (s *Store) HasIndex(ctx context.Context) (bool, error) {
	t, err := s.describe(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(t.GlobalSecondaryIndexes, func(x types.GlobalSecondaryIndexDescription) bool {
		return aws.ToString(x.IndexName) == indexByOwner
	}), nil
}

// OwnedBy implements [leases.FleetStore] with a paged Query.
func (s *Store) OwnedBy(ctx context.Context, worker string) ([]string, error) {
	if worker == "" {
		return nil, errors.New("the leases of no worker cannot be asked for")
	}
	e := newExpression()
	in := &sdk.QueryInput{
		TableName: &s.cfg.Table, IndexName: aws.String(indexByOwner),
		KeyConditionExpression:   aws.String(e.equals(item{attrOwner: str(worker)}, attrOwner)),
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}
	var keys []string
	for {
		page, err := page(ctx, s, "dynamodb:Query", s.cfg.Client.Query, in)
		// The service has no code of its own for an index that is not there, or
		// not yet; the request is valid otherwise.
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
		if len(page.LastEvaluatedKey) == 0 {
			return keys, nil
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
}
