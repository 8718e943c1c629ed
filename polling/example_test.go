package polling_test

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/polling"
)

// A shard is read in a range loop. Leaving the loop ends the reading.
func ExampleFetcher_Batches() {
	srv, err := kinesistest.Start(kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	client := kinesis.New(kinesis.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(srv.URL()),
		HTTPClient:   srv.HTTPClient(),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
	ctx := context.Background()
	for _, data := range []string{"one", "two", "three"} {
		_, err := client.PutRecord(ctx,
			&kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("customer"), Data: []byte(data)})
		if err != nil {
			fmt.Println(err)
			return
		}
	}

	fetcher := polling.NewFetcher(polling.Config{Client: client, StreamName: "orders"})
	for batch, err := range fetcher.Batches(ctx, "shardId-000000000000", kcl.Position{Kind: kcl.TrimHorizon}) {
		if err != nil {
			fmt.Println(err) // final: transient errors are retried
			return
		}
		for _, record := range batch.Records {
			fmt.Println(string(record.Data()))
		}
		if batch.BehindLatest == 0 {
			break
		}
	}
	// Output:
	// one
	// two
	// three
}
