package efo_test

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/kinesistest"
)

// Reading one shard from its beginning, against a fake Kinesis. Against AWS only the client
// differs.
func ExampleSubscriber_Batches() {
	srv, err := kinesistest.Start(kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders"}}})
	if err != nil {
		panic(err)
	}
	defer srv.Close()
	client := kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(srv.URL()), HTTPClient: srv.HTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
	const stream = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
	ctx := context.Background()

	consumer, err := efo.Register(ctx, client, efo.RegisterConfig{StreamARN: stream, ConsumerName: "billing"})
	if err != nil {
		panic(err)
	}
	for _, order := range []string{"apples", "pears", "plums"} {
		_, err := client.PutRecord(ctx,
			&kinesis.PutRecordInput{StreamARN: aws.String(stream), PartitionKey: aws.String("customer 1"), Data: []byte(order)})
		if err != nil {
			panic(err)
		}
	}

	sub := efo.NewSubscriber(efo.Config{
		Client:      client,
		HTTPClient:  efo.NewHTTPClient(client.Options().HTTPClient, efo.TransportConfig{}),
		StreamARN:   stream,
		ConsumerARN: consumer,
	})
	seen := 0
	for batch, err := range sub.Batches(ctx, "shardId-000000000000", kcl.Position{Kind: kcl.TrimHorizon}) {
		if err != nil {
			panic(err) // final: everything transient was retried inside
		}
		for _, r := range batch.Records {
			key, _ := r.PartitionKey()
			fmt.Printf("%s: %s\n", key, r.Data())
			seen++
		}
		if seen == 3 {
			break // closes the subscription; batch.Next is where to go on
		}
	}
	// Output:
	// customer 1: apples
	// customer 1: pears
	// customer 1: plums
}
