package integration

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// mixedFailover is the same in both kinds of worker.
const mixedFailover = 5 * time.Second

// javaWorkers bounds how many Java processes run at a time in all tests.
var javaWorkers = make(chan struct{}, 2)

// mixed is a fleet of processes, Java and Go, that share one lease table.
type mixed struct {
	*journal
	kinesis   *kinesis.Client
	url       string
	stream    string
	table     string
	retrieval string
	store     *dynamodb.Store
	keys      []string // that get records while a step waits
	began     time.Time
	workers   map[string]*process

	mu       sync.Mutex // guards the fields below
	rows     []leases.Lease
	handOffs map[string]bool // "from to" of each hand-off that was seen in the table
}

func newMixed(ctx context.Context, t *testing.T, retrieval string, shards int32) *mixed {
	t.Helper()
	tables := dynamodbClient(dynamodbURL(t))
	url := startFake(ctx, t)
	client := kinesisClient(url, func(o *kinesis.Options) { o.HTTPClient = h2c() })
	m := &mixed{
		journal: newJournal(), kinesis: client, url: url, stream: createStream(ctx, t, client, shards), table: unique("mixed"),
		retrieval: retrieval, began: time.Now(), workers: map[string]*process{}, handOffs: map[string]bool{},
	}
	m.store = dynamodb.New(dynamodb.Config{Client: tables, Table: m.table, ConsistentList: true, Logger: logger(t)})
	for k := range 16 {
		m.keys = append(m.keys, fmt.Sprintf("key-%02d", k))
	}
	t.Cleanup(func() {
		t.Log(m.journal)
		t.Log(m.String())
	})
	return m
}

// start runs a worker. Names of Java workers begin with j, their command is in the variable given.
func (m *mixed) start(ctx context.Context, t *testing.T, name, variable string, settings ...string) {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	if variable != "" {
		path = endpoint(t, variable)
		select {
		case javaWorkers <- struct{}{}:
		case <-ctx.Done():
			require.FailNow(t, "too many Java workers run")
		}
	}
	p := spawn(t, append([]string{
		"WORKER=" + name, "STREAM=" + m.stream, "APPLICATION=" + m.table, "KINESIS_URL=" + m.url,
		"DYNAMODB_URL=" + dynamodbURL(t), "RETRIEVAL=" + m.retrieval,
		"FAILOVER_MILLIS=" + strconv.FormatInt(mixedFailover.Milliseconds(), 10),
	}, settings...), path)
	m.workers[name] = p
	m.step(t, "%s started", name)
	go func() { // ends with the process
		for text := range p.lines {
			if err := m.note(name, text); err != nil {
				t.Errorf("%v", err) //nolint:testifylint // not the test's goroutine
			}
		}
		<-p.exited
		if variable != "" {
			<-javaWorkers
		}
	}()
}

func (m *mixed) startJava3(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	m.start(ctx, t, name, "KCL_JAVA_KCL3", "CLIENT_VERSION=CLIENT_VERSION_CONFIG_3X")
}

// kill ends a worker without a chance to do anything.
func (m *mixed) kill(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	require.Equal(t, -1, m.workers[name].stop(ctx, t, syscall.SIGKILL))
	m.step(t, "%s killed", name)
}

// stop ends a worker in order. Java's status of a program that a signal ends is 143, after its
// shutdown hooks.
func (m *mixed) stop(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	require.Contains(t, []int{0, 143}, m.workers[name].stop(ctx, t, syscall.SIGTERM))
	m.await(ctx, t, 10*time.Second, name+" says that it has stopped", func() bool { return m.count(name, "stopped") > 0 })
}

func (m *mixed) step(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("%5.1f s: %s", time.Since(m.began).Seconds(), fmt.Sprintf(format, args...))
}

// await puts a record for each key of the load, again and again, until the condition holds.
func (m *mixed) await(ctx context.Context, t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %v", limit))
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for round := 0; ; round++ {
		m.look(ctx)
		if condition() {
			break
		}
		if round%2 == 0 {
			for _, key := range m.keys {
				m.putOne(ctx, t, key)
			}
		}
		select {
		case <-ctx.Done():
			require.FailNow(t, what, "%v\n%s", context.Cause(ctx), m)
		case <-tick.C:
		}
	}
	m.step(t, "%s, after %.1f s", what, time.Since(began).Seconds())
}

func (m *mixed) putOne(ctx context.Context, t *testing.T, key string) {
	t.Helper()
	m.ledger.mu.Lock()
	number := m.put[key] + 1
	m.ledger.mu.Unlock()
	_, err := m.kinesis.PutRecord(context.WithoutCancel(ctx), &kinesis.PutRecordInput{
		StreamName: aws.String(m.stream), PartitionKey: aws.String(key), Data: []byte(key + " " + strconv.Itoa(number)),
	})
	require.NoError(t, err)
	m.ledger.mu.Lock()
	m.put[key] = number
	m.ledger.mu.Unlock()
}

// look reads the table and remembers what it sees.
func (m *mixed) look(ctx context.Context) {
	listing, err := m.store.List(ctx)
	if err != nil {
		return // there is no table yet
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = listing.Leases
	for _, row := range m.rows {
		if row.CheckpointOwner != "" {
			m.handOffs[name(row.CheckpointOwner)+" "+name(row.Owner)] = true
		}
	}
}

// name is the name of a worker: the id in the table of a Go worker has a suffix.
func name(owner string) string {
	name, _, _ := strings.Cut(owner, ":")
	return name
}

// held are the open shards by the worker that has them, as the table says; "" has what nobody has.
func (m *mixed) held() map[string][]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := map[string][]string{}
	for _, row := range m.rows {
		if !row.Checkpoint.IsShardEnd() {
			held[name(row.ActualOwner())] = append(held[name(row.ActualOwner())], row.Key)
		}
	}
	return held
}

func (m *mixed) rowsNow() []leases.Lease {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.rows)
}

// handedOff tells whether a hand-off between the two was seen.
func (m *mixed) handedOff(from, to string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.handOffs[from+" "+to]
}

func (m *mixed) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out strings.Builder
	for _, row := range m.rows {
		fmt.Fprintf(&out, "%s owner %q from %q counter %d checkpoint %v\n", row.Key, row.Owner, row.CheckpointOwner, row.Counter, row.Checkpoint)
	}
	fmt.Fprintf(&out, "hand-offs %v", slices.Sorted(maps.Keys(m.handOffs)))
	return out.String()
}

// awaitAll waits until the workers named have all open shards, each at least one, and read them.
func (m *mixed) awaitAll(ctx context.Context, t *testing.T, limit time.Duration, names ...string) {
	t.Helper()
	fresh := map[string]int{}
	m.await(ctx, t, limit, "the shards are all with "+strings.Join(names, " and "), func() bool {
		held := m.held()
		for _, name := range names {
			if len(held[name]) == 0 {
				return false
			}
		}
		if len(held) != len(names) {
			return false
		}
		for _, name := range names { // a row is one thing, a record another
			if _, ok := fresh[name]; !ok {
				fresh[name] = m.count(name, "record")
			}
			if m.count(name, "record") == fresh[name] {
				return false
			}
		}
		return true
	})
}

// settled waits, without any more records, until every record was processed, and judges the order.
func (m *mixed) settled(ctx context.Context, t *testing.T, limit time.Duration) (duplicates int) {
	t.Helper()
	keys := m.keys
	m.keys = nil
	m.await(ctx, t, limit, "every record was processed", func() bool { missing, _ := m.missing(); return missing == 0 })
	m.keys = keys
	require.Empty(t, m.replay())
	_, duplicates = m.missing()
	return duplicates
}

// reshard splits a shard, merges two others and waits until their parents have ended.
func (m *mixed) reshard(ctx context.Context, t *testing.T, limit time.Duration, names ...string) {
	t.Helper()
	parents := append([]string{split(ctx, t, m.kinesis, m.stream)}, merge(ctx, t, m.kinesis, m.stream)...)
	m.step(t, "%v split or merged", parents)
	m.await(ctx, t, limit, "the parents have ended", func() bool {
		for _, row := range m.rowsNow() {
			if slices.Contains(parents, row.Key) && !row.Checkpoint.IsShardEnd() {
				return false
			}
		}
		return len(m.held()[""]) == 0
	})
	m.awaitAll(ctx, t, limit, names...)
}

// TestMixedSwapInPlace replaces Java by Go and Go by Java on one table, with nobody in between.
func TestMixedSwapInPlace(t *testing.T) {
	t.Parallel()
	ctx := within(t, 4*time.Minute)
	m := newMixed(ctx, t, "FANOUT", 4)
	m.startJava3(ctx, t, "j1")
	m.awaitAll(ctx, t, 90*time.Second, "j1")
	m.stop(ctx, t, "j1")
	m.start(ctx, t, "g1", "")
	m.awaitAll(ctx, t, 30*time.Second, "g1")
	require.Zero(t, m.settled(ctx, t, 10*time.Second), "records twice")
	m.stop(ctx, t, "g1")
	m.startJava3(ctx, t, "j2")
	m.awaitAll(ctx, t, 60*time.Second, "j2")
	require.Zero(t, m.settled(ctx, t, 10*time.Second), "records twice")
	m.stop(ctx, t, "j2")
}

// TestMixedWithJava2 has a worker of KCL 2.x and Go workers on one table: each takes its share, each
// takes over when the other is killed, and a split and a merge are followed.
func TestMixedWithJava2(t *testing.T) {
	t.Parallel()
	ctx := within(t, 5*time.Minute)
	m := newMixed(ctx, t, "FANOUT", 4)
	m.start(ctx, t, "j1", "KCL_JAVA_KCL2")
	m.awaitAll(ctx, t, 90*time.Second, "j1")
	m.start(ctx, t, "g1", "")
	m.awaitAll(ctx, t, 45*time.Second, "j1", "g1")

	m.reshard(ctx, t, 45*time.Second, "j1", "g1")
	m.settled(ctx, t, 15*time.Second)

	m.kill(ctx, t, "j1")
	m.awaitAll(ctx, t, 20*time.Second, "g1")
	m.start(ctx, t, "j2", "KCL_JAVA_KCL2")
	m.awaitAll(ctx, t, 60*time.Second, "j2", "g1")
	m.kill(ctx, t, "g1")
	m.awaitAll(ctx, t, 30*time.Second, "j2")
	m.settled(ctx, t, 15*time.Second)
	m.stop(ctx, t, "j2")
}
