package processors_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/processors"
	"github.com/kinesis-go/kcl/scheduler"
)

// consume puts records, each "key=data", into a fake stream, and runs a worker until stop is
// called.
func consume(records []string, p func(stop func()) kcl.Processor) {
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
	for _, r := range records {
		key, data, _ := strings.Cut(r, "=")
		if _, err := client.PutRecord(context.Background(), &kinesis.PutRecordInput{
			StreamName: aws.String("orders"), PartitionKey: aws.String(key), Data: []byte(data),
		}); err != nil {
			fmt.Println(err)
			return
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	err = scheduler.New(scheduler.Config{
		Application: "billing",
		Streams:     []scheduler.StreamConfig{{Name: "orders"}},
		Kinesis:     client,
		Leases:      memory.New(),
		Logger:      slog.New(slog.DiscardHandler),
	}, func(kcl.StreamIdentifier, kcl.Shard) kcl.Processor { return p(stop) }).Run(ctx)
	if err != nil {
		fmt.Println(err)
	}
}

// A program has to write only a function. Its records are checkpointed every thousand records,
// every five seconds, and at the end.
func ExampleFunc() {
	consume([]string{"a=paid", "a=shipped"}, func(stop func()) kcl.Processor {
		return processors.Func(func(_ context.Context, records []kcl.Record) error {
			for _, r := range records {
				fmt.Printf("%s\n", r.Data())
				if string(r.Data()) == "shipped" {
					stop()
				}
			}
			return nil
		}, processors.FuncOptions{Checkpoints: processors.Checkpoints{Records: 1000}})
	})
	// Output:
	// paid
	// shipped
}

// A record that fails is tried again. The records before it are not.
func ExampleEach() {
	failed := false
	consume([]string{"a=paid", "a=shipped"}, func(stop func()) kcl.Processor {
		return processors.Each(func(_ context.Context, r kcl.Record) error {
			fmt.Printf("%s\n", r.Data())
			if string(r.Data()) == "paid" {
				return nil
			}
			if !failed {
				failed = true
				return errors.New("no answer")
			}
			stop()
			return nil
		}, processors.FuncOptions{})
	})
	// Output:
	// paid
	// shipped
	// shipped
}

// A record that cannot be processed goes to a dead-letter queue, and does not stop the shard.
func ExampleRetry() {
	handle := func(_ context.Context, records []kcl.Record) error {
		for _, r := range records {
			if string(r.Data()) == "???" {
				return errors.New("not an order")
			}
		}
		return nil
	}
	consume([]string{"a=paid", "a=???", "a=shipped"}, func(stop func()) kcl.Processor {
		return processors.Retry(processors.Func(handle, processors.FuncOptions{}), processors.RetryOptions{
			Attempts: 2,
			DeadLetter: func(_ context.Context, d processors.DeadLetter) error {
				// Store the record where it is safe: after nil it is not delivered again.
				fmt.Printf("%s %s: %s: %v\n", d.Stream.Name, d.Shard.ID, d.Record.Data(), d.Err)
				stop()
				return nil
			},
			Logger: slog.New(slog.DiscardHandler),
		})
	})
	// Output:
	// orders shardId-000000000000: ???: not an order
}

// Records are collected over several reads. A batch that does not fill is handed on after MaxAge,
// and at a stop.
func ExampleBatch() {
	left := 5
	consume([]string{"a=1", "a=2", "a=3", "a=4", "a=5"}, func(stop func()) kcl.Processor {
		insert := func(_ context.Context, records []kcl.Record) error {
			fmt.Println("insert", len(records), "rows")
			if left -= len(records); left == 0 {
				stop()
			}
			return nil
		}
		return processors.Batch(processors.Func(insert, processors.FuncOptions{}), processors.BatchOptions{MaxRecords: 2})
	})
	// Output:
	// insert 2 rows
	// insert 2 rows
	// insert 1 rows
}

// Several customers are served at the same time, and the orders of each customer in order.
func ExampleConcurrent() {
	var mu sync.Mutex
	orders := map[string][]string{}
	left := 5
	consume([]string{"ann=1", "bob=2", "ann=3", "bob=4", "ann=5"}, func(stop func()) kcl.Processor {
		handle := func(_ context.Context, r kcl.Record) error {
			customer, _ := r.PartitionKey()
			mu.Lock()
			defer mu.Unlock()
			orders[customer] = append(orders[customer], string(r.Data()))
			if left--; left == 0 {
				stop()
			}
			return nil
		}
		return processors.Concurrent(func(int) kcl.Processor {
			return processors.Each(handle, processors.FuncOptions{})
		}, processors.ConcurrentOptions{Lanes: 4})
	})
	fmt.Println("ann", orders["ann"])
	fmt.Println("bob", orders["bob"])
	// Output:
	// ann [1 3 5]
	// bob [2 4]
}

// Decorators nest: every lane tries its own record again, and the other lanes go on.
func Example() {
	handle := func(_ context.Context, r kcl.Record) error {
		if string(r.Data()) == "???" {
			return errors.New("not an order")
		}
		return nil
	}
	consume([]string{"ann=1", "bob=???", "ann=3"}, func(stop func()) kcl.Processor {
		return processors.Concurrent(func(int) kcl.Processor {
			return processors.Retry(processors.Each(handle, processors.FuncOptions{}), processors.RetryOptions{
				Attempts: 1,
				DeadLetter: func(_ context.Context, d processors.DeadLetter) error {
					customer, _ := d.Record.PartitionKey()
					fmt.Printf("dead letter of %s: %s\n", customer, d.Record.Data())
					stop()
					return nil
				},
				Logger: slog.New(slog.DiscardHandler),
			})
		}, processors.ConcurrentOptions{})
	})
	// Output:
	// dead letter of bob: ???
}
