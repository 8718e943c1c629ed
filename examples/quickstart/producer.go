package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

const (
	keys         = 60
	produceEvery = 200 * time.Millisecond
)

// produce writes rounds of records until ctx ends. A round has one record for each key. PutRecords
// keeps no order within one call, and may accept some records and refuse others. So no call has two
// records of a key, and a round is finished before the next begins.
func produce(ctx context.Context, client *kinesis.Client, audit *Audit) error {
	tick := time.NewTicker(produceEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		round := make([]payload, keys)
		for i := range round {
			round[i] = payload{Key: fmt.Sprintf("customer-%02d", i), N: n}
		}
		// A round is always finished, so that the audit knows all records of the stream.
		if err := put(context.WithoutCancel(ctx), client, round, audit); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// put writes all records of a round. It repeats records that the service refuses.
func put(ctx context.Context, client *kinesis.Client, round []payload, audit *Audit) error {
	for len(round) > 0 {
		entries := make([]types.PutRecordsRequestEntry, len(round))
		for i, p := range round {
			data, err := json.Marshal(p)
			if err != nil {
				return err
			}
			entries[i] = types.PutRecordsRequestEntry{PartitionKey: &round[i].Key, Data: data}
		}
		out, err := client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String(stream), Records: entries})
		if err != nil {
			return err
		}
		var refused []payload
		for i, result := range out.Records {
			if result.ErrorCode != nil {
				refused = append(refused, round[i])
			} else {
				audit.Produced(round[i])
			}
		}
		if round = refused; len(round) > 0 {
			sleep(ctx, produceEvery)
		}
	}
	return nil
}
