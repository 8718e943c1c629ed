package integration

import (
	"context"
	"fmt"
	"maps"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// mixedFailover is the same in both kinds of worker.
const mixedFailover = 5 * time.Second

// mixedKeys is how many partition keys a stream has, evenly spread over the hash keys.
const mixedKeys = 16

// javaWorkers bounds how many Java processes run at a time in all tests.
var javaWorkers = make(chan struct{}, 2)

// mixed is a fleet of processes, Java and Go, that share one lease table.
type mixed struct {
	*journal
	kinesis   *kinesis.Client
	url       string
	streams   []string // with several, shards are named by their lease keys
	list      []string // of streams, those that workers which are started now are to read
	table     string
	retrieval string
	tables    *sdk.Client
	store     *dynamodb.Store
	keys      []string // that get records while a step waits
	began     time.Time
	workers   map[string]*process
	dead      map[string]bool // workers that were killed
	rows      []leases.Lease  // of the table, as last seen
	wrong     []string        // shards that were given to dead workers, rows that cannot be read
	tend      func()          // if set, called in each round of await
}

// newMixed makes as many streams as there are numbers of shards.
func newMixed(ctx context.Context, t *testing.T, retrieval string, shards ...int32) *mixed {
	t.Helper()
	tables := dynamodbClient(dynamodbURL(t))
	url := startFake(ctx, t)
	client := kinesisClient(url, func(o *kinesis.Options) { o.HTTPClient = h2c() })
	m := &mixed{
		journal: newJournal(), kinesis: client, url: url, table: unique("mixed"), tables: tables,
		retrieval: retrieval, began: time.Now(), workers: map[string]*process{}, dead: map[string]bool{},
	}
	m.store = dynamodb.New(dynamodb.Config{Client: tables, Table: m.table, ConsistentList: true, Logger: logger(t)})
	for _, n := range shards {
		for range mixedKeys {
			m.keys = append(m.keys, fmt.Sprintf("key-%02d", len(m.keys)))
		}
		m.streams = append(m.streams, createStream(ctx, t, client, n))
	}
	m.list = m.streams
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
		m.awaitPlace(ctx, t)
	}
	several := ""
	if len(m.streams) > 1 {
		several = strings.Join(m.list, ",")
	}
	p := spawn(t, append([]string{
		"WORKER=" + name, "STREAM=" + m.streams[0], "STREAMS=" + several, "APPLICATION=" + m.table, "KINESIS_URL=" + m.url,
		"DYNAMODB_URL=" + dynamodbURL(t), "RETRIEVAL=" + m.retrieval,
		"FAILOVER_MILLIS=" + strconv.FormatInt(mixedFailover.Milliseconds(), 10),
	}, settings...), path)
	m.workers[name] = p
	delete(m.dead, name)
	m.step(t, "%s started", name)
	go func() { // ends with the process
		for text := range p.lines {
			m.note(name, text)
		}
		<-p.exited
		if variable != "" {
			<-javaWorkers
		}
	}()
}

// awaitPlace waits until another Java worker may run. If workers hold leases, the load goes on
// meanwhile: after a pause a leader would measure uneven shards.
func (m *mixed) awaitPlace(ctx context.Context, t *testing.T) {
	t.Helper()
	if slices.ContainsFunc(m.rows, func(row leases.Lease) bool { return row.Owner != "" }) {
		m.await(ctx, t, 10*time.Minute, "there is a place for a Java worker", func() bool {
			select {
			case javaWorkers <- struct{}{}:
				return true
			default:
				return false
			}
		})
		return
	}
	select {
	case javaWorkers <- struct{}{}:
	case <-ctx.Done():
		require.FailNow(t, "too many Java workers run")
	}
}

func (m *mixed) startJava3(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	m.start(ctx, t, name, "KCL_JAVA_KCL3", "CLIENT_VERSION=CLIENT_VERSION_CONFIG_3X")
}

// beginWithJava3 makes the table with a Go worker, as Java takes much longer for that, and then has
// j1 read all shards.
func (m *mixed) beginWithJava3(ctx context.Context, t *testing.T, shards int) {
	t.Helper()
	m.start(ctx, t, "g0", "")
	m.awaitAll(ctx, t, 30*time.Second, shards, "g0")
	m.stop(ctx, t, "g0")
	m.startJava3(ctx, t, "j1")
	m.awaitAll(ctx, t, 90*time.Second, shards, "j1")
}

// kill ends a worker without a chance to do anything.
func (m *mixed) kill(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	require.Equal(t, -1, m.workers[name].stop(ctx, t, syscall.SIGKILL))
	m.dead[name] = true
	m.step(t, "%s killed", name)
}

// stop ends a worker in order. Java's status of a program that a signal ends is 143, after its
// shutdown hooks.
func (m *mixed) stop(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	stopped := m.count(name, "stopped")
	require.Contains(t, []int{0, 143}, m.workers[name].stop(ctx, t, syscall.SIGTERM))
	m.await(ctx, t, 10*time.Second, name+" says that it has stopped",
		func() bool { return m.count(name, "stopped") > stopped })
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
		if m.tend != nil {
			m.tend()
		}
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
	k, err := strconv.ParseInt(strings.TrimPrefix(key, "key-"), 10, 64)
	require.NoError(t, err)
	hash := new(big.Int).Lsh(big.NewInt(2*(k%mixedKeys)+1), 127) // in the middle of the key's part
	hash.Div(hash, big.NewInt(mixedKeys))
	_, err = m.kinesis.PutRecord(context.WithoutCancel(ctx), &kinesis.PutRecordInput{
		StreamName: aws.String(m.streams[k/mixedKeys]), PartitionKey: aws.String(key),
		ExplicitHashKey: aws.String(hash.String()),
		Data:            fmt.Appendf(nil, "%-1024s", key+" "+strconv.Itoa(number)), // both kinds of leader take less for idle
	})
	require.NoError(t, err)
	m.ledger.mu.Lock()
	m.put[key] = number
	m.ledger.mu.Unlock()
}

// look reads the table.
func (m *mixed) look(ctx context.Context) {
	listing, err := m.store.List(ctx)
	if err != nil { // at the start there is none
		return
	}
	living := map[string]bool{}
	for _, row := range m.rows {
		living[row.Key] = !m.dead[name(row.ActualOwner())]
	}
	m.rows = listing.Leases
	for _, row := range listing.Bad {
		m.wrong = append(m.wrong, row.Error())
	}
	for _, row := range m.rows {
		if living[row.Key] && !row.Checkpoint.IsShardEnd() && m.dead[name(row.ActualOwner())] {
			m.wrong = append(m.wrong, row.Key+" to "+row.ActualOwner())
		}
	}
}

// name is the name of a worker: the id in the table of a Go worker has a suffix.
func name(owner string) string {
	name, _, _ := strings.Cut(owner, ":")
	return name
}

// held are the open shards of the list by the worker that has them, as the table says; "" has what
// nobody has.
func (m *mixed) held() map[string][]string {
	held := map[string][]string{}
	for _, row := range m.rows {
		listed := len(m.streams) == 1 ||
			slices.ContainsFunc(m.list, func(name string) bool { return strings.Contains(row.Key, ":"+name+":") })
		if listed && !row.Checkpoint.IsShardEnd() {
			held[name(row.ActualOwner())] = append(held[name(row.ActualOwner())], row.Key)
		}
	}
	return held
}

func (m *mixed) String() string {
	var out strings.Builder
	for _, row := range m.rows {
		fmt.Fprintf(&out, "%s owner %q from %q counter %d checkpoint %v throughput %v\n",
			row.Key, row.Owner, row.CheckpointOwner, row.Counter, row.Checkpoint, row.ThroughputKBps)
	}
	return out.String()
}

// awaitAll waits until the workers named have all open shards, each at least least of them, and
// nothing else, and get records.
func (m *mixed) awaitAll(ctx context.Context, t *testing.T, limit time.Duration, least int, names ...string) {
	t.Helper()
	open := m.open(ctx, t, m.list...)
	var read map[string]int // how many records each had when the table was as it should be
	m.await(ctx, t, limit, "the shards are all with "+strings.Join(names, " and "), func() bool {
		held := m.held()
		for _, name := range names {
			if len(held[name]) < least {
				return false
			}
		}
		keys := slices.Concat(slices.Collect(maps.Values(held))...)
		slices.Sort(keys)
		if len(held) != len(names) || !slices.Equal(keys, open) {
			return false
		}
		if read == nil {
			read = map[string]int{}
			for _, name := range names {
				read[name] = m.count(name, "record")
			}
		}
		return !slices.ContainsFunc(names, func(name string) bool { return m.count(name, "record") == read[name] })
	})
}

// open are the lease keys of the shards of the streams that take records, in order.
func (m *mixed) open(ctx context.Context, t *testing.T, streams ...string) (keys []string) {
	t.Helper()
	for _, name := range streams {
		prefix := ""
		if len(m.streams) > 1 {
			out, err := m.kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(name)})
			require.NoError(t, err)
			prefix = fmt.Sprintf("000000000000:%s:%d:", name, out.StreamDescriptionSummary.StreamCreationTimestamp.Unix())
		}
		for _, shard := range openShards(ctx, t, m.kinesis, name) {
			keys = append(keys, prefix+aws.ToString(shard.ShardId))
		}
	}
	slices.Sort(keys)
	return keys
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

func (m *mixed) duplicates() int {
	_, duplicates := m.missing()
	return duplicates
}

func (m *mixed) awaitLeader(ctx context.Context, t *testing.T, limit time.Duration, leader string) {
	t.Helper()
	m.await(ctx, t, limit, leader+" is the leader", func() bool {
		lock, err := m.store.Fleet().Leader(ctx)
		require.NoError(t, err)
		return lock != nil && name(lock.Owner) == leader
	})
}

// awaitHandOver gives records to the shards of one worker only. It waits until the leader has moved
// one of these shards to the other worker, and both have done their part.
func (m *mixed) awaitHandOver(ctx context.Context, t *testing.T, limit time.Duration, from, to string) {
	t.Helper()
	keys := m.keys
	m.keys = m.keysIn(m.held()[from])
	require.NotEmpty(t, m.keys)
	asked, began := m.count(from, "requested"), m.count(to, "initialize")
	m.await(ctx, t, limit, "a shard goes from "+from+" to "+to, func() bool {
		return m.count(from, "requested") > asked && m.count(to, "initialize") > began
	})
	m.keys = keys
}

// reshard splits a shard, merges two others and waits until the workers have ended the parents and
// read the children.
func (m *mixed) reshard(ctx context.Context, t *testing.T, limit time.Duration, names ...string) {
	t.Helper()
	parents := append([]string{split(ctx, t, m.kinesis, m.streams[0])}, merge(ctx, t, m.kinesis, m.streams[0])...)
	m.step(t, "%v split or merged", parents)
	m.awaitAll(ctx, t, limit, 1, names...)
}

// TestMixedSwapInPlace replaces Java by Go and Go by Java on one table: first with nobody in
// between, then with both at work.
func TestMixedSwapInPlace(t *testing.T) {
	t.Parallel()
	ctx := within(t, 10*time.Minute)
	m := newMixed(ctx, t, "FANOUT", 4)
	m.startJava3(ctx, t, "j1")
	m.awaitAll(ctx, t, 2*time.Minute, 1, "j1")
	m.stop(ctx, t, "j1")
	m.start(ctx, t, "g1", "")
	m.awaitAll(ctx, t, 45*time.Second, 1, "g1")
	require.Zero(t, m.settled(ctx, t, 30*time.Second), "records twice")
	m.stop(ctx, t, "g1")
	// With another name the Java leader would give shards to the first one for a minute.
	m.startJava3(ctx, t, "j1")
	m.awaitAll(ctx, t, 90*time.Second, 1, "j1")
	require.Zero(t, m.settled(ctx, t, 30*time.Second), "records twice")

	m.start(ctx, t, "g2", "")
	m.awaitAll(ctx, t, 90*time.Second, 1, "g2", "j1")
	m.stop(ctx, t, "g2")
	m.awaitAll(ctx, t, 45*time.Second, 1, "j1")
	m.start(ctx, t, "g3", "")
	m.awaitAll(ctx, t, 90*time.Second, 1, "g3", "j1")
	m.stop(ctx, t, "j1")
	m.awaitAll(ctx, t, 45*time.Second, 1, "g3")
	require.Zero(t, m.settled(ctx, t, 30*time.Second), "records twice")
	m.awaitLeader(ctx, t, 10*time.Second, "g3")
	m.stop(ctx, t, "g3")
	require.Empty(t, m.wrong)
}

// TestMixedWithJava2 has a worker of KCL 2.x and Go workers on one table: each takes its share,
// each takes over when the other is killed, and both follow a split and a merge.
func TestMixedWithJava2(t *testing.T) {
	t.Parallel()
	ctx := within(t, 10*time.Minute)
	m := newMixed(ctx, t, "POLLING", 4)
	m.start(ctx, t, "j1", "KCL_JAVA_KCL2")
	m.awaitAll(ctx, t, 2*time.Minute, 1, "j1")
	m.start(ctx, t, "g1", "")
	m.awaitAll(ctx, t, 90*time.Second, 1, "j1", "g1")

	m.reshard(ctx, t, 90*time.Second, "j1", "g1")
	m.settled(ctx, t, 30*time.Second)

	m.kill(ctx, t, "j1")
	m.awaitAll(ctx, t, 45*time.Second, 1, "g1")
	m.start(ctx, t, "j2", "KCL_JAVA_KCL2")
	m.awaitAll(ctx, t, 90*time.Second, 1, "j2", "g1")
	m.kill(ctx, t, "g1")
	m.awaitAll(ctx, t, 45*time.Second, 1, "j2")
	m.settled(ctx, t, 30*time.Second)
	m.stop(ctx, t, "j2")
}

// TestMixedWithJava3 has a worker of KCL 3.x and a Go worker on one table. Each is the leader for a
// time, and moves shards in both directions with the other's consent; each is killed, and the other
// takes over its shards and its lead; a split and a merge are followed by both together.
func TestMixedWithJava3(t *testing.T) {
	t.Parallel()
	ctx := within(t, 10*time.Minute)
	m := newMixed(ctx, t, "FANOUT", 8)
	all := m.keys

	m.beginWithJava3(ctx, t, 8)
	m.start(ctx, t, "g1", "")
	m.awaitAll(ctx, t, 90*time.Second, 2, "j1", "g1")
	m.awaitLeader(ctx, t, 5*time.Second, "j1")
	require.Positive(t, m.count("j1", "requested"), "shards moved without asking")
	m.awaitHandOver(ctx, t, 90*time.Second, "g1", "j1")
	require.Zero(t, m.settled(ctx, t, 30*time.Second), "records twice")

	m.reshard(ctx, t, 90*time.Second, "j1", "g1")
	require.Zero(t, m.settled(ctx, t, 30*time.Second), "records twice")

	m.kill(ctx, t, "j1")
	killed := time.Now()
	m.awaitAll(ctx, t, 45*time.Second, 1, "g1")
	m.awaitLeader(ctx, t, 40*time.Second, "g1")
	m.settled(ctx, t, 30*time.Second)
	// A share for the dead worker would leave the others nothing to move.
	m.await(ctx, t, 2*time.Minute, "the leader counts j1 no more", func() bool {
		return time.Since(killed) > kcl3.WorkerSilence+mixedFailover
	})

	before, asked := m.duplicates(), m.count("g1", "requested")
	m.startJava3(ctx, t, "j2")
	m.awaitAll(ctx, t, 90*time.Second, 2, "g1", "j2")
	m.awaitLeader(ctx, t, 5*time.Second, "g1")
	require.Greater(t, m.count("g1", "requested"), asked, "shards moved without asking")
	asked = m.count("j2", "requested")
	m.start(ctx, t, "g2", "") // two: with one the leader may find enough on its own worker
	m.start(ctx, t, "g3", "")
	m.awaitAll(ctx, t, 90*time.Second, 1, "g1", "g2", "g3", "j2")
	m.await(ctx, t, 45*time.Second, "j2 is asked for a shard", func() bool { return m.count("j2", "requested") > asked })
	m.stop(ctx, t, "g2")
	m.stop(ctx, t, "g3")
	m.awaitAll(ctx, t, 45*time.Second, 2, "g1", "j2")
	require.Equal(t, before, m.settled(ctx, t, 30*time.Second), "records twice")
	require.Empty(t, m.wrong)

	m.kill(ctx, t, "g1")
	m.awaitAll(ctx, t, 2*time.Minute, 1, "j2") // the Java leader gives shards to dead workers for up to a minute
	m.awaitLeader(ctx, t, 20*time.Second, "j2")
	m.settled(ctx, t, 30*time.Second)
	require.Equal(t, all, m.keys)
	m.stop(ctx, t, "j2")
}
