package kinesistest_test

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl/kinesistest"
)

// The second call to ListShards is throttled; the third is not.
func ExampleServer_Inject() {
	srv, err := kinesistest.Start(kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 2}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	client := kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(srv.URL()), HTTPClient: srv.HTTPClient(), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
	})

	remove := srv.Inject(kinesistest.Fault{
		Operation: "ListShards", Stream: "orders", Skip: 1, Times: 1,
		Do: []kinesistest.Action{kinesistest.Fail("LimitExceededException", "slow down")},
	})
	defer remove()
	for range 3 {
		out, err := client.ListShards(context.Background(), &kinesis.ListShardsInput{StreamName: aws.String("orders")})
		if err != nil {
			fmt.Println("throttled")
			continue
		}
		fmt.Println(len(out.Shards), "shards")
	}
	// Output:
	// 2 shards
	// throttled
	// 2 shards
}
