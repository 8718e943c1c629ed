package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// kcl3Fleet is a fleet on a table of DynamoDB, over the network and the SDK, in
// one synctest bubble.
type kcl3Fleet struct {
	*fleet
	srv   *dynamotest.Server
	table *dynamodb.Store // the operator's view
}

func newKCL3Fleet(t *testing.T, shards int, change ...func(*dynamotest.Config)) *kcl3Fleet {
	cfg := dynamotest.Config{Lag: 100 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	srv := dynamotest.Start(cfg)
	t.Cleanup(srv.Close)
	f := &kcl3Fleet{fleet: newFleet(t, 0), srv: srv}
	f.period = 2 * time.Second // each delivery is a call over the network
	f.table = f.open("operator")
	require.NoError(t, f.table.Init(t.Context()))
	for i := range shards {
		f.create(fmt.Sprintf("shardId-%012d", i))
	}
	return f
}

// open returns a store of the table for a process on host.
func (f *kcl3Fleet) open(host string, change ...func(*dynamodb.Config)) *dynamodb.Store {
	cfg := dynamodb.Config{
		Client: awstest.DynamoDBFrom(f.t, f.srv, host), Table: "app", Logger: f.log, ConsistentList: host == "operator",
	}
	for _, c := range change {
		c(&cfg)
	}
	return dynamodb.New(cfg)
}

func (f *kcl3Fleet) create(key string) {
	require.NoError(f.t, f.table.Create(f.t.Context(), leases.Lease{
		Key: key, ShardID: key, ThroughputKBps: -1,
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
	}))
}

// is3x makes the table one that the Java KCL 3.x has made.
func (f *kcl3Fleet) is3x() { f.clientVersion(leases.ClientVersion3x) }

func (f *kcl3Fleet) clientVersion(status string) {
	f.t.Helper()
	m, err := f.table.Fleet().Migrations(f.t.Context())
	require.NoError(f.t, err)
	require.NoError(f.t, f.table.Fleet().SetClientVersion(f.t.Context(), m.ClientVersion, leases.MigrationState{Status: status, By: "operator", At: time.Now()}))
}

// start runs a worker of this library.
func (f *kcl3Fleet) start(id string, change ...func(*coordinator.Config)) *worker {
	w := f.prepare(id, change...)
	w.run()
	return w
}

func (f *kcl3Fleet) prepare(id string, change ...func(*coordinator.Config)) *worker {
	w := &worker{f: f.fleet, id: id, done: make(chan struct{})}
	cfg := coordinator.Config{Store: f.open(id), WorkerID: id, Consume: w.consume, Logger: f.log.With("worker", id)}
	for _, c := range change {
		c(&cfg)
	}
	w.coord = coordinator.New(cfg)
	f.mu.Lock()
	f.workers[id] = w
	f.mu.Unlock()
	return w
}

// kill ends a process, as far as others can tell.
func (f *kcl3Fleet) kill(w *worker) {
	f.srv.Network().Host(w.id).Kill()
	f.mu.Lock()
	w.killed = true
	f.mu.Unlock()
}

func (f *kcl3Fleet) rows() map[string]leases.Lease {
	l, err := f.table.List(f.t.Context())
	require.NoError(f.t, err)
	require.Empty(f.t, l.Bad)
	rows := map[string]leases.Lease{}
	for _, row := range l.Leases {
		rows[row.Key] = row
	}
	return rows
}

func (f *kcl3Fleet) load() map[string]int {
	load := map[string]int{}
	for _, row := range f.rows() {
		load[row.Owner]++
	}
	return load
}

func (f *kcl3Fleet) requireBalance(workers ...string) {
	f.t.Helper()
	requireBalance(f.t, f.load(), workers, func(high int) int { return 1 + high/5 })
}

// leader is the owner of the lock; empty when there is none.
func (f *kcl3Fleet) leader() string {
	lock, err := f.table.Fleet().Leader(f.t.Context())
	require.NoError(f.t, err)
	if lock == nil {
		return ""
	}
	return lock.Owner
}

// reports are the workers whose metrics are in the table.
func (f *kcl3Fleet) reports() []string {
	workers, bad, err := f.table.Fleet().Workers(f.t.Context())
	require.NoError(f.t, err)
	require.Empty(f.t, bad)
	ids := []string{}
	for _, w := range workers {
		ids = append(ids, w.Worker)
	}
	slices.Sort(ids)
	return ids
}

// javaWorker speaks the protocol of the Java KCL 3.x, as the Java sources have it. It reports each
// 30 s, renews each 3.3 s, and asks the index each 10 s. It hands over when it is asked to, and
// does not give its leases back.
type javaWorker struct {
	f      *kcl3Fleet
	id     string
	store  *dynamodb.Store
	cancel context.CancelFunc
	done   chan struct{}
	// finishing is how long a record processor takes to shut down.
	finishing time.Duration
	// lead lets it try to be the leader.
	lead bool
	// cpu is what its sensor shows; nil: it has none.
	cpu *atomic.Int64

	// Of its goroutine.
	held map[string]*javaLease
	lock *leases.LeaderLock
	seen struct {
		version string
		since   time.Time
	}
	counters map[string]javaSighting
	owned    map[string]int // leases that were ever discovered
}

type javaLease struct {
	row     leases.Lease
	leaving time.Time // when the processor will have shut down; zero: it was not asked to
}

type javaSighting struct {
	counter int64
	since   time.Time
}

func (f *kcl3Fleet) java(id string, change ...func(*javaWorker)) *javaWorker {
	j := &javaWorker{
		f: f, id: id, store: f.open(id, func(c *dynamodb.Config) { c.Logger = slog.New(slog.DiscardHandler) }), done: make(chan struct{}),
		finishing: time.Second, held: map[string]*javaLease{}, counters: map[string]javaSighting{}, owned: map[string]int{},
	}
	for _, c := range change {
		c(j)
	}
	ctx, cancel := context.WithCancel(context.Background())
	j.cancel = cancel
	go func() { // ends with stop
		defer close(j.done)
		j.run(ctx)
	}()
	f.t.Cleanup(j.stop)
	return j
}

// stop is a stop of the Java KCL: it releases the lock, and nothing else.
func (j *javaWorker) stop() {
	j.cancel()
	<-j.done
}

func (j *javaWorker) kill() { j.f.srv.Network().Host(j.id).Kill() }

func (j *javaWorker) run(ctx context.Context) {
	var reported, renewed, discovered, beat, tried, assigned time.Time
	var samples []float64
	for ctx.Err() == nil {
		now := time.Now()
		due := func(at *time.Time, every time.Duration) bool {
			if !at.IsZero() && now.Sub(*at) < every {
				return false
			}
			*at = now
			return true
		}
		if due(&reported, 30*time.Second) {
			m := leases.WorkerMetrics{Worker: j.id, Updated: now.Truncate(time.Second), Stats: map[string][]float64{}, Range: map[string][]float64{}, Support: 1, SupportUpdated: now.Truncate(time.Second)}
			if j.cpu != nil {
				samples = append(samples, float64(j.cpu.Load()))
				samples = samples[max(0, len(samples)-10):]
				m.Stats["C"], m.Range["C"] = samples, []float64{100}
			}
			_ = j.store.Fleet().ReportWorker(ctx, m)
		}
		if due(&renewed, 3308*time.Millisecond) {
			for _, l := range j.held {
				j.renew(ctx, l)
			}
		}
		for _, l := range j.held {
			if !l.leaving.IsZero() && !now.Before(l.leaving) {
				j.transfer(ctx, l)
			}
		}
		if due(&discovered, 9975*time.Millisecond) {
			j.discover(ctx)
		}
		if j.lead {
			if j.lock == nil && due(&tried, 30*time.Second) {
				j.campaign(ctx)
			}
			if j.lock != nil && due(&beat, 30*time.Second) {
				j.heartbeat(ctx)
			}
			if j.lock != nil && due(&assigned, 20*time.Second) {
				j.assign(ctx)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
	if j.lock != nil {
		_ = j.store.Fleet().ReleaseLeader(context.Background(), *j.lock)
	}
}

// renew is op R, with its failure handling.
func (j *javaWorker) renew(ctx context.Context, l *javaLease) {
	to := l.row
	to.Counter++
	u := leases.Update{Read: l.row, Expect: leases.AttrCounter | leases.AttrCheckpointOwner, To: to, Set: leases.AttrCounter}
	if l.row.CheckpointOwner != "" {
		u.Expect = leases.AttrCounter
	}
	err := j.store.Update(ctx, u)
	conflict, ok := errors.AsType[*leases.ConflictError](err)
	switch {
	case err == nil:
		l.row = to
	case !ok: // tried again next time
	case conflict.Current != nil && l.row.CheckpointOwner == "" && conflict.Current.CheckpointOwner == j.id && conflict.Current.Owner != j.id:
		l.row.CheckpointOwner, l.row.Owner = j.id, conflict.Current.Owner
		l.leaving = time.Now().Add(j.finishing)
		j.renew(ctx, l)
	default:
		delete(j.held, l.row.Key)
	}
}

// transfer is op A by the old owner.
func (j *javaWorker) transfer(ctx context.Context, l *javaLease) {
	to := l.row
	to.CheckpointOwner = ""
	to.Counter++
	err := j.store.Update(ctx, leases.Update{
		Read: l.row, Expect: leases.AttrOwner | leases.AttrCheckpointOwner, To: to,
		Set: leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter,
	})
	if _, conflict := errors.AsType[*leases.ConflictError](err); err == nil || conflict {
		delete(j.held, l.row.Key)
	}
}

// discover is the LeaseDiscoverer.
func (j *javaWorker) discover(ctx context.Context) {
	keys, err := j.store.Fleet().OwnedBy(ctx, j.id)
	if err != nil {
		return
	}
	for _, key := range keys {
		if j.held[key] != nil {
			continue
		}
		row, err := j.store.Get(ctx, key)
		if err == nil && row.Owner == j.id && row.CheckpointOwner == "" {
			j.held[key] = &javaLease{row: row}
			j.owned[key]++
		}
	}
}

// campaign does what the lock client of the KCL does to get the lock.
func (j *javaWorker) campaign(ctx context.Context) {
	lock, err := j.store.Fleet().Leader(ctx)
	if err != nil {
		return
	}
	if lock != nil && !lock.Released {
		if lock.Version != j.seen.version {
			j.seen.version, j.seen.since = lock.Version, time.Now()
		}
		if time.Since(j.seen.since) <= lock.Duration {
			return
		}
	}
	to := leases.LeaderLock{Owner: j.id, Version: fmt.Sprint(j.id, time.Now().UnixNano()), Duration: 120 * time.Second}
	if j.store.Fleet().AcquireLeader(ctx, lock, to) == nil {
		j.lock = &to
	}
}

func (j *javaWorker) heartbeat(ctx context.Context) {
	version := fmt.Sprint(j.id, time.Now().UnixNano())
	err := j.store.Fleet().HeartbeatLeader(ctx, *j.lock, version)
	if _, conflict := errors.AsType[*leases.ConflictError](err); conflict {
		j.lock = nil
	} else if err == nil {
		j.lock.Version = version
	}
}

// assign is the LeaseAssignmentManager, by lease count: A for leases that are
// free or expired, one H from the fullest worker to the emptiest.
func (j *javaWorker) assign(ctx context.Context) {
	list, err := j.store.List(ctx)
	if err != nil {
		return
	}
	workers, _, err := j.store.Fleet().Workers(ctx)
	if err != nil {
		return
	}
	count := map[string]int{}
	for _, w := range workers {
		if time.Since(w.Updated) < time.Minute {
			count[w.Worker] = 0
		}
	}
	emptiest := func() (id string) {
		for _, w := range slices.Sorted(maps.Keys(count)) {
			if id == "" || count[w] < count[id] {
				id = w
			}
		}
		return id
	}
	var idle []leases.Lease
	byOwner := map[string][]leases.Lease{}
	for _, row := range list.Leases {
		s, known := j.counters[row.Key]
		if !known || s.counter != row.Counter {
			s = javaSighting{row.Counter, time.Now()}
			j.counters[row.Key] = s
		}
		switch {
		case row.Finished():
		case row.ActualOwner() == "" || time.Since(s.since) > 10*time.Second:
			idle = append(idle, row)
		default:
			if _, active := count[row.Owner]; active {
				count[row.Owner]++
			}
			if row.CheckpointOwner == "" {
				byOwner[row.Owner] = append(byOwner[row.Owner], row)
			}
		}
	}
	for _, row := range idle {
		to := row
		if to.Owner = emptiest(); to.Owner == "" || row.Owner == to.Owner && row.CheckpointOwner == "" {
			continue
		}
		count[to.Owner]++
		to.CheckpointOwner = ""
		to.Counter++
		_ = j.store.Update(ctx, leases.Update{
			Read: row, Expect: leases.AttrOwner | leases.AttrCheckpointOwner, To: to,
			Set: leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter,
		})
	}
	fullest := ""
	for _, w := range slices.Sorted(maps.Keys(byOwner)) {
		if fullest == "" || len(byOwner[w]) > len(byOwner[fullest]) {
			fullest = w
		}
	}
	if to := emptiest(); to != "" && fullest != "" && len(byOwner[fullest])-count[to] >= 2 {
		row := byOwner[fullest][0]
		next := row
		next.Owner, next.CheckpointOwner = to, fullest
		_ = j.store.Update(ctx, leases.Update{
			Read: row, Expect: leases.AttrOwner | leases.AttrCheckpointOwner, To: next, Set: leases.AttrOwner | leases.AttrCheckpointOwner,
		})
	}
}

// addr is where the table is on the network.
func (f *kcl3Fleet) addr() string {
	u, err := url.Parse(f.srv.URL())
	require.NoError(f.t, err)
	return u.Hostname()
}

// kcl2 holds all leases as a worker of KCL 2.x for 25 s.
func (f *kcl3Fleet) kcl2(id string) {
	store := f.open(id)
	for begun := time.Now(); time.Since(begun) < 25*time.Second; time.Sleep(3 * time.Second) {
		list, err := store.List(context.Background())
		if err != nil {
			return
		}
		for _, row := range list.Leases {
			to := row
			to.Owner = id
			to.Counter++
			_ = store.Update(context.Background(), leases.Update{Read: row, To: to, Set: leases.AttrOwner | leases.AttrCounter})
		}
	}
}

// sideTables makes the two tables that workers of KCL 3.0 to 3.4 would make.
func (f *kcl3Fleet) sideTables() {
	client := awstest.DynamoDBFrom(f.t, f.srv, "operator")
	for name, key := range map[string]string{"app-CoordinatorState": "key", "app-WorkerMetricStats": "wid"} {
		_, err := client.CreateTable(f.t.Context(), &sdk.CreateTableInput{
			TableName: &name, BillingMode: types.BillingModePayPerRequest,
			KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
		})
		require.NoError(f.t, err)
	}
	time.Sleep(time.Second)
	f.table = f.open("operator") // the route is looked up anew
}
