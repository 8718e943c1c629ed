//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl/integration/chaos/journal"
	"github.com/kinesis-go/kcl/kpl"
)

const (
	producers      = 5
	keysOfProducer = 100
	aggregateEvery = 10 // each tenth key comes in aggregates
	aggregateSize  = 5  // user records
	retryPause     = 50 * time.Millisecond
)

var filler = strings.Repeat("chaos ", 60)

// recordsOfTurn is how many records a producer puts at once: one request for each of its keys.
const recordsOfTurn = keysOfProducer - keysOfProducer/aggregateEvery + keysOfProducer/aggregateEvery*aggregateSize

// produce puts rate records a second until ctx ends. A request has no key twice, and is repeated
// until all of it is put, before the next one: so records of one key have an order.
func produce(ctx context.Context, client *kinesis.Client, rate int, c *checker) {
	var wg sync.WaitGroup
	defer wg.Wait()
	every := time.Duration(producers*recordsOfTurn) * time.Second / time.Duration(rate)
	for i := range producers {
		wg.Go(func() { // ends with ctx
			p := producer{client: client, checker: c, counters: make([]int, keysOfProducer)}
			for k := range keysOfProducer {
				p.keys = append(p.keys, fmt.Sprintf("key-%d-%d", i, k))
			}
			pause(ctx, every*time.Duration(i)/producers)
			tick := time.NewTicker(every)
			defer tick.Stop()
			for ctx.Err() == nil {
				p.turn(context.WithoutCancel(ctx)) // the checker wants to know all that is put
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
}

// producer puts the records of some keys. It is for one goroutine.
type producer struct {
	client   *kinesis.Client
	checker  *checker
	keys     []string
	counters []int // the next number of each key
}

// turn puts the next records of all keys.
func (p *producer) turn(ctx context.Context) {
	waiting := make([]int, len(p.keys)) // indexes of keys
	entries := make([]types.PutRecordsRequestEntry, len(p.keys))
	for i := range p.keys {
		waiting[i] = i
		entries[i] = types.PutRecordsRequestEntry{PartitionKey: &p.keys[i], Data: p.data(i)}
	}
	for len(entries) > 0 {
		out, err := p.client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String(stream), Records: entries})
		if err != nil {
			slog.Warn("put records", "err", err)
			pause(ctx, retryPause)
			continue
		}
		now := journal.Now()
		refused := 0
		for n, result := range out.Records {
			if result.ErrorCode != nil {
				waiting[refused], entries[refused] = waiting[n], entries[n]
				refused++
				continue
			}
			i := waiting[n]
			p.checker.produced(now, p.keys[i], p.counters[i], count(i))
			p.counters[i] += count(i)
		}
		waiting, entries = waiting[:refused], entries[:refused]
		if refused > 0 {
			pause(ctx, retryPause)
		}
	}
}

// count is how many user records a Kinesis record of a key has.
func count(key int) int {
	if key%aggregateEvery == 0 {
		return aggregateSize
	}
	return 1
}

// data is that of the next Kinesis record of a key.
func (p *producer) data(key int) []byte {
	payload := func(counter int) []byte {
		return fmt.Appendf(nil, "%d %s", counter, filler[:rand.IntN(len(filler))])
	}
	if count(key) == 1 {
		return payload(p.counters[key])
	}
	var a kpl.Aggregator
	for n := range aggregateSize {
		if err := a.Add(p.keys[key], "", payload(p.counters[key]+n)); err != nil {
			panic(err) // five small records fit
		}
	}
	return a.Bytes()
}
