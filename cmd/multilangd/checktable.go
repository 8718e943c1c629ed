package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
		c.note("lease table %s does not exist: the daemon makes it; dynamodb:CreateTable and the rights to use it "+
			"are not checked", name)
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

// requests tries reading and writing.
func (c *checker) requests(ctx context.Context, client *dynamodb.Client, table string) {
	key := map[string]types.AttributeValue{hashKey: &types.AttributeValueMemberS{Value: probeKey}}
	never := aws.String("attribute_exists(#never)")
	names := map[string]string{"#never": neverPresent}
	for _, try := range []struct {
		action string
		call   func() error
	}{
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
	} {
		err := try.call()
		if awserr.Is(err, "ConditionalCheckFailedException") {
			err = nil // as intended
		}
		c.found(fmt.Sprintf("%s on lease table %s", try.action, table), awserr.Explain(err, "dynamodb:"+try.action, table))
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
