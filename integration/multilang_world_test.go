package integration

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/kpl"
)

// multiLang is a stream, an application and the daemons that run it, one or several.
type multiLang struct {
	*mixed
	client  client
	dir     string
	daemons map[string]*daemon

	sumsMu sync.Mutex        // guards sums
	sums   map[string]string // of the data of records that are not as await puts them
}

func newMultiLang(ctx context.Context, t *testing.T, c client, retrieval string, shards int32) *multiLang {
	t.Helper()
	w := &multiLang{
		mixed: newMixed(ctx, t, retrieval, shards), client: c, dir: t.TempDir(),
		daemons: map[string]*daemon{}, sums: map[string]string{},
	}
	w.tend = func() {
		for _, d := range w.daemons {
			d.ledgers.read(d.worker, w.note, w.sum)
			if d.cmd != nil && !d.running() && !d.stopping {
				w.step(t, "%s ended with status %d, and is started again", d.worker, d.cmd.ProcessState.ExitCode())
				d.ledgers.kill()
				d.start(t)
			}
		}
	}
	return w
}

// sum is that of the data of a record, which is named as in the ledger.
func (w *multiLang) sum(record string) string {
	w.sumsMu.Lock()
	defer w.sumsMu.Unlock()
	if sum := w.sums[record]; sum != "" {
		return sum
	}
	return sumOf(fmt.Appendf(nil, "%-1024s", record))
}

// run starts a daemon of a kind; later it is kept running until it is stopped.
func (w *multiLang) run(ctx context.Context, t *testing.T, worker string, k kind) *daemon {
	t.Helper()
	ledger := filepath.Join(w.dir, worker)
	require.NoError(t, os.MkdirAll(ledger, 0o700))
	d := &daemon{
		kind: k, worker: worker, properties: ledger + ".properties", log: ledger + ".log",
		ledgers: newChildLedgers(ledger),
		environment: append(w.client.environment(t), "LEDGER="+ledger, "AWS_ACCESS_KEY_ID=test",
			"AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true"),
	}
	properties := k.settings(w.url, dynamodbURL(t), w.streams[0], w.table, worker, w.retrieval)
	properties["executableName"] = w.client.command(t)
	writeProperties(t, d.properties, properties)
	if k.isJava() {
		w.awaitPlace(ctx, t)
		t.Cleanup(func() { <-javaWorkers })
	}
	t.Cleanup(func() { d.end(t) })
	d.start(t)
	w.daemons[worker] = d
	w.step(t, "%s started: %s, %s", worker, k.name, w.client.name)
	return d
}

// awaitCaughtUp puts a record for each key, and waits until what was put by now was processed. More
// is put meanwhile.
func (w *multiLang) awaitCaughtUp(ctx context.Context, t *testing.T, limit time.Duration, after string) {
	t.Helper()
	for _, key := range w.keys {
		w.putOne(ctx, t, key)
	}
	w.ledger.mu.Lock()
	put := maps.Clone(w.put)
	w.ledger.mu.Unlock()
	w.await(ctx, t, limit, "caught up after "+after, func() bool {
		for key, n := range put {
			for number := n; number >= 1; number-- {
				if w.times(fmt.Sprintf("%s %d", key, number)) == 0 {
					return false
				}
			}
		}
		return true
	})
}

// signalChild sends a signal to the child of an open shard, and returns that shard.
func (w *multiLang) signalChild(ctx context.Context, t *testing.T, d *daemon, signal syscall.Signal) string {
	t.Helper()
	var picked child
	w.await(ctx, t, 30*time.Second, "a child runs", func() bool {
		for _, c := range d.ledgers.living() {
			if strings.Contains(strings.Join(w.open(ctx, t, w.streams...), " "), c.shard) {
				picked = c
			}
		}
		return picked.pid != 0
	})
	require.NoError(t, syscall.Kill(picked.pid, signal))
	w.step(t, "the child %d of %s got signal %v", picked.pid, picked.shard, signal)
	return picked.shard
}

// keyCount numbers the keys of large and of aggregated records, so that they spread over the
// shards.
const keyCount = 4

// putLarge puts a record of 1 MiB of random bytes, key included, for each of keyCount keys.
func (w *multiLang) putLarge(ctx context.Context, t *testing.T) {
	t.Helper()
	for i := range keyCount {
		key := fmt.Sprintf("large-%d", i)
		data, record := w.next(key)
		data = append(data, make([]byte, 1<<20-len(key)-len(data))...)
		_, _ = rand.Read(data[len(record)+1:]) // never fails
		w.expect(record, data)
		w.putRecord(ctx, t, i, key, data)
		w.wasPut(key, 1)
	}
}

// putAggregates puts an aggregate of three records for each of keyCount keys. The partition keys in
// the aggregate are not UTF-8.
func (w *multiLang) putAggregates(ctx context.Context, t *testing.T) {
	t.Helper()
	for i := range keyCount {
		key := fmt.Sprintf("aggregated-%d", i)
		var aggregate kpl.Aggregator
		w.ledger.mu.Lock()
		first := w.put[key]
		w.ledger.mu.Unlock()
		for n := range 3 {
			record := fmt.Sprintf("%s %d", key, first+n+1)
			data := append([]byte(record), " \x00\xff\xfe\n"...)
			require.NoError(t, aggregate.Add("\xff\xfe\x80"+key, spread(i), data))
			w.expect(record, data)
		}
		w.putRecord(ctx, t, i, "carrier", aggregate.Bytes())
		w.wasPut(key, 3)
	}
}

// next is the beginning of the data of a key's next record, and the record's name in the ledger.
func (w *multiLang) next(key string) (data []byte, record string) {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	record = fmt.Sprintf("%s %d", key, w.put[key]+1)
	return []byte(record + " "), record
}

// spread is the hash key in the middle of one of keyCount equal parts.
func spread(i int) string {
	hash := new(big.Int).Lsh(big.NewInt(int64(2*i+1)), 127)
	return hash.Div(hash, big.NewInt(keyCount)).String()
}

func (w *multiLang) putRecord(ctx context.Context, t *testing.T, i int, key string, data []byte) {
	t.Helper()
	_, err := w.kinesis.PutRecord(ctx, &kinesis.PutRecordInput{
		StreamName: aws.String(w.streams[0]), PartitionKey: aws.String(key), Data: data,
		ExplicitHashKey: aws.String(spread(i)),
	}, func(o *kinesis.Options) { o.RetryMaxAttempts = 20 }) // a shard takes 1 MiB/s
	require.NoError(t, err)
}

// expect says what the data of a record is, before it is put.
func (w *multiLang) expect(record string, data []byte) {
	w.sumsMu.Lock()
	defer w.sumsMu.Unlock()
	w.sums[record] = sumOf(data)
}

// wasPut counts n records of a key.
func (w *multiLang) wasPut(key string, n int) {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	w.put[key] += n
}
