package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/internal/awserr"
	store "github.com/kinesis-go/kcl/leases/dynamodb"
)

// The names in the lease table that a check uses.
const (
	hashKey      = "leaseKey"
	ownerIndex   = "LeaseOwnerToLeaseKeyIndex"
	probeKey     = "multilangd-check"
	probeOwner   = "multilangd-check"
	neverPresent = "multilangdCheck"
)

// table asks for the lease table, and tries each kind of request. Its writes have a condition that
// never holds, so they change nothing.
func (c *checker) table(ctx context.Context, client *dynamodb.Client, cfg store.Config) {
	ctx, cancel := context.WithTimeout(ctx, 4*checkTimeout)
	defer cancel()
	name := cfg.Table
	out, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
	if awserr.Is(err, "ResourceNotFoundException") {
		c.note("lease table %s does not exist: the daemon makes it", name)
		c.newTable(ctx, client, name)
		return
	}
	if err == nil && !slices.ContainsFunc(out.Table.KeySchema, func(k types.KeySchemaElement) bool {
		return aws.ToString(k.AttributeName) == hashKey && k.KeyType == types.KeyTypeHash
	}) {
		err = errors.New("it is no lease table: its key is not leaseKey: set tableName to another table")
	}
	if !c.found("lease table "+name, awserr.Explain(err, "dynamodb:DescribeTable", name)) {
		return
	}
	if s := out.Table.TableStatus; s != types.TableStatusActive && s != types.TableStatusUpdating {
		c.note("lease table %s is %s: the daemon waits until it is ACTIVE", name, s)
		return
	}
	c.requests(ctx, client, name)
	for _, index := range out.Table.GlobalSecondaryIndexes {
		if aws.ToString(index.IndexName) == ownerIndex {
			c.index(ctx, client, name)
		}
	}
}

// trial is a request that changes nothing.
type trial struct {
	action string
	call   func() error
}

// requests tries reading and writing a table that exists.
func (c *checker) requests(ctx context.Context, client *dynamodb.Client, table string) {
	for _, try := range dataTrials(ctx, client, table) {
		err := try.call()
		if awserr.Is(err, "ConditionalCheckFailedException") {
			err = nil // as intended
		}
		c.found(fmt.Sprintf("%s on lease table %s", try.action, table), awserr.Explain(err, "dynamodb:"+try.action, table))
	}
}

// newTable tries the requests for a table that does not exist. A refusal is a fault. Every other
// answer may have come before a look at the permissions, so it proves nothing.
func (c *checker) newTable(ctx context.Context, client *dynamodb.Client, table string) {
	// The key has no type, and the capacity contradicts the billing. So no server makes this table.
	create := trial{"CreateTable", func() error {
		_, err := client.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName: &table, BillingMode: types.BillingModePayPerRequest,
			ProvisionedThroughput: &types.ProvisionedThroughput{
				ReadCapacityUnits: aws.Int64(1), WriteCapacityUnits: aws.Int64(1),
			},
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String(hashKey), KeyType: types.KeyTypeHash}},
			AttributeDefinitions: []types.AttributeDefinition{},
		})
		return err
	}}
	var open []string
	for _, try := range append([]trial{create}, dataTrials(ctx, client, table)...) {
		err := try.call()
		if awserr.Denied(err) {
			c.found(fmt.Sprintf("%s on lease table %s", try.action, table), awserr.Explain(err, "dynamodb:"+try.action, table))
			continue
		}
		open = append(open, try.action)
	}
	if len(open) > 0 {
		c.note("dynamodb:%s: needed from the first start on; trials were not refused, but only the start can prove "+
			"these permissions", strings.Join(open, ", "))
	}
}

// dataTrials are the requests that read and write rows. The writes have a condition that never
// holds.
func dataTrials(ctx context.Context, client *dynamodb.Client, table string) []trial {
	key := map[string]types.AttributeValue{hashKey: &types.AttributeValueMemberS{Value: probeKey}}
	never := aws.String("attribute_exists(#never)")
	names := map[string]string{"#never": neverPresent}
	return []trial{
		{"Scan", func() error {
			_, err := client.Scan(ctx, &dynamodb.ScanInput{TableName: &table, Limit: aws.Int32(1)})
			return err
		}},
		{"GetItem", func() error {
			_, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: key})
			return err
		}},
		{"PutItem", func() error {
			_, err := client.PutItem(ctx, &dynamodb.PutItemInput{
				TableName: &table, Item: key, ConditionExpression: never, ExpressionAttributeNames: names,
			})
			return err
		}},
		{"UpdateItem", func() error {
			_, err := client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
				TableName: &table, Key: key, ConditionExpression: never, ExpressionAttributeNames: names,
				UpdateExpression: aws.String("REMOVE #never"),
			})
			return err
		}},
		{"DeleteItem", func() error {
			_, err := client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
				TableName: &table, Key: key, ConditionExpression: never, ExpressionAttributeNames: names,
			})
			return err
		}},
	}
}

// index tries the query by which a worker finds its leases on a table of KCL 3.x.
func (c *checker) index(ctx context.Context, client *dynamodb.Client, table string) {
	_, err := client.Query(ctx, &dynamodb.QueryInput{
		TableName: &table, IndexName: aws.String(ownerIndex), KeyConditionExpression: aws.String("#owner = :owner"),
		ExpressionAttributeNames:  map[string]string{"#owner": "leaseOwner"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":owner": &types.AttributeValueMemberS{Value: probeOwner}},
	})
	if awserr.Is(err, "ResourceNotFoundException", "ValidationException") {
		c.note("index %s of lease table %s cannot be used yet", ownerIndex, table)
		return
	}
	c.found("Query on the index "+ownerIndex, awserr.Explain(err, "dynamodb:Query", table+"/index/"+ownerIndex))
}
