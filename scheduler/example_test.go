package scheduler_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/scheduler"
)

// printer prints records and checkpoints after each batch.
type printer struct{ seen func(n int) }

func (p *printer) Initialize(context.Context, kcl.InitializeInput) error { return nil }

func (p *printer) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	for _, r := range in.Records {
		key, _ := r.PartitionKey()
		fmt.Printf("%s: %s\n", key, r.Data())
	}
	if err := in.Checkpointer.Checkpoint(ctx); err != nil {
		return err
	}
	p.seen(len(in.Records))
	return nil
}

func (p *printer) LeaseLost(context.Context, kcl.LeaseLostInput)         {}
func (p *printer) ShardEnded(context.Context, kcl.ShardEndedInput) error { return nil }

func (p *printer) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	return in.Checkpointer.Checkpoint(ctx)
}

// A worker reads a stream until its context ends. The fake stands for Kinesis,
// and leases in memory for the table that the workers of an application share.
func Example() {
	fake, err := kinesistest.Start(kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer fake.Close()
	client := kinesis.New(kinesis.Options{
		Region:       kinesistest.DefaultRegion,
		BaseEndpoint: aws.String(fake.URL()),
		HTTPClient:   fake.HTTPClient(),
		Credentials:  credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
	for _, text := range []string{"paid", "shipped"} {
		if _, err := client.PutRecord(context.Background(), &kinesis.PutRecordInput{
			StreamName: aws.String("orders"), PartitionKey: aws.String("order-7"), Data: []byte(text),
		}); err != nil {
			fmt.Println(err)
			return
		}
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := 2
	s := scheduler.New(scheduler.Config{
		Application: "billing",
		Streams:     []scheduler.StreamConfig{{Name: "orders"}},
		Kinesis:     client,
		Leases:      memory.New(),
		Logger:      slog.New(slog.DiscardHandler),
	}, func(kcl.StreamIdentifier, kcl.Shard) kcl.Processor {
		return &printer{seen: func(n int) {
			if left -= n; left == 0 {
				cancel() // a real program stops on a signal
			}
		}}
	})
	fmt.Println("stopped:", s.Run(ctx))
	// Output:
	// order-7: paid
	// order-7: shipped
	// stopped: <nil>
}

// Every mistake is reported at once, with the field and the remedy.
func ExampleConfig_Validate() {
	err := scheduler.Config{
		Application: "billing",
		Streams:     []scheduler.StreamConfig{{Name: "orders/eu"}},
		Kinesis:     kinesis.New(kinesis.Options{Region: "eu-west-1"}),
	}.Validate()
	fmt.Println(err)
	// Output:
	// scheduler: Config.Leases is missing: give a lease store, such as dynamodb.New(...) or memory.New()
	// scheduler: Config.Streams[0].Name is "orders/eu": use 1 to 128 letters, digits, underscores, dots and hyphens
}
