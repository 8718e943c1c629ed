package integration

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"
)

// ledger compares what was put with what all workers of a test processed. Records are
// "KEY NUMBER", numbered per partition key from 1, so that loss and a wrong order within a key
// show. A record that was delivered twice has one sequence number. A record that was put twice
// has two: the SDK puts a record once more when a server breaks the connection.
type ledger struct {
	mu        sync.Mutex // guards the fields below
	put       map[string]int
	processed map[string]map[int]bool // by key and number
	delivered map[string]int          // by shard and sequence number: how often
	last      map[string]int          // highest number processed, by key
	disorder  []string
	shards    map[string]bool
	workers   map[string]int // records by worker
}

func newLedger() *ledger {
	return &ledger{
		put: map[string]int{}, processed: map[string]map[int]bool{}, delivered: map[string]int{}, last: map[string]int{},
		shards: map[string]bool{}, workers: map[string]int{},
	}
}

// process notes a record that a worker got.
func (l *ledger) process(worker, shard, sequence, data string) error {
	key, text, ok := strings.Cut(data, " ")
	number, err := strconv.Atoi(text)
	if !ok || err != nil {
		return fmt.Errorf("foreign record %q", data)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered[shard+" "+sequence]++
	l.shards[shard] = true
	l.workers[worker]++
	if l.processed[key][number] {
		return nil // delivered or put again; it was in order the first time
	}
	if l.processed[key] == nil {
		l.processed[key] = map[int]bool{}
	}
	l.processed[key][number] = true
	if number != l.last[key]+1 {
		l.disorder = append(l.disorder, fmt.Sprintf("%s: %d after %d in %s", key, number, l.last[key], shard))
	}
	l.last[key] = number
	return nil
}

// counts returns how many records were put so far, how many of them were not delivered, and how
// many deliveries were not the first of their record.
func (l *ledger) counts() (put, missing, duplicates int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, n := range l.put {
		put += n
		for number := 1; number <= n; number++ {
			if !l.processed[key][number] {
				missing++
			}
		}
	}
	for _, times := range l.delivered {
		duplicates += times - 1
	}
	return put, missing, duplicates
}

func (l *ledger) complete() bool {
	_, missing, _ := l.counts()
	return missing == 0
}

func (l *ledger) String() string {
	put, missing, duplicates := l.counts()
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("put %d, missing %d, duplicates %d, shards %v, workers %v",
		put, missing, duplicates, slices.Sorted(maps.Keys(l.shards)), l.workers)
}

// recordsOf is how many records a worker got.
func (l *ledger) recordsOf(worker string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.workers[worker]
}

// settled waits until everything put was processed, and checks the order.
func (l *ledger) settled(ctx context.Context, t *testing.T) {
	t.Helper()
	until(ctx, t, l.String, l.complete)
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.disorder, "records of a key out of order")
}

// produce puts rounds records for each of the keys, one after the other within a key.
func (l *ledger) produce(ctx context.Context, t *testing.T, client *kinesis.Client, stream string, keys, rounds int) {
	t.Helper()
	for range rounds {
		for k := range keys {
			key := fmt.Sprintf("key-%02d", k)
			l.mu.Lock()
			number := l.put[key] + 1
			l.mu.Unlock()
			_, err := client.PutRecord(ctx, &kinesis.PutRecordInput{
				StreamName: aws.String(stream), PartitionKey: aws.String(key),
				Data: []byte(key + " " + strconv.Itoa(number)),
			})
			require.NoError(t, err)
			l.mu.Lock()
			l.put[key] = number
			l.mu.Unlock()
		}
	}
}
