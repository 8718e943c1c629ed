package dynamodb_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// A table in a fake DynamoDB of this process. An application gives the store to the scheduler,
// which calls it.
func Example() {
	ctx := context.Background()
	server := dynamotest.Start(dynamotest.Config{})
	defer server.Close()
	client := sdk.New(sdk.Options{ // in production: sdk.NewFromConfig
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL()), HTTPClient: server.HTTPClientFrom("worker"),
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
	store := dynamodb.New(dynamodb.Config{
		Client: client, Table: "billing", Logger: slog.New(slog.DiscardHandler),
		OnCreate: func(_ context.Context, table string) error {
			fmt.Println("made table", table)
			return nil
		},
	})
	fmt.Println("init:", store.Init(ctx))
	row := leases.Lease{
		Key: "shardId-000000000000", ShardID: "shardId-000000000000", Checkpoint: kcl.InitialPosition{}.Sentinel(),
	}
	fmt.Println("create:", store.Create(ctx, row))
	listing, err := store.List(ctx)
	fmt.Println(len(listing.Leases), listing.Leases[0].Checkpoint, err)
	// Output:
	// made table billing
	// init: <nil>
	// create: <nil>
	// 1 TRIM_HORIZON <nil>
}

// Every mistake is reported at once, with the field and the remedy. Init and the scheduler report
// the same.
func ExampleStore_Validate() {
	store := dynamodb.New(dynamodb.Config{Table: "billing/eu", ScanSegments: -1})
	fmt.Println(store.Validate())
	// Output:
	// leases/dynamodb: Config.Client is missing: set it to dynamodb.NewFromConfig(aws config)
	// Config.Table is "billing/eu": a table name has 3 to 255 letters, digits, '_', '.' or '-'
	// Config.ScanSegments is -1: it must be from 0 to 1000
}
