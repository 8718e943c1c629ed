package scheduler_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/scheduler"
)

const streamName = "orders"

// rig is a fake Kinesis, a lease table, a producer and any number of workers,
// all inside one bubble, and the audit of what they did.
type rig struct {
	t           *testing.T
	srv         *kinesistest.Server
	admin       *kinesis.Client
	tableFaults *leasefault.Injector // of the table of all workers
	store       leases.Store         // the operator's view of the table
	audit       *audit
	log         *slog.Logger

	mu      sync.Mutex // guards the fields below
	workers []*worker
	sent    map[string]int // per key
}

func newRig(t *testing.T, cfg kinesistest.Config) *rig {
	t.Helper()
	srv := kinesistest.New(t, cfg)
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	table := leasefault.New(memory.New())
	r := &rig{
		t: t, srv: srv, tableFaults: table, store: table.Store(), audit: newAudit(t), sent: map[string]int{},
		admin: awstest.Kinesis(t, srv),
		log:   slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})),
	}
	t.Cleanup(r.stopAll)
	return r
}

func oneStream(shards int) kinesistest.Config {
	return kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: streamName, Shards: shards}}}
}

// worker is one Scheduler with a network host and a view of the table of its own.
type worker struct {
	*scheduler.Scheduler
	r      *rig
	name   string
	faults *leasefault.Injector // of this worker's view of the table
	client *kinesis.Client
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned err
	err    error
	dead   atomic.Bool

	// do replaces what the processor does with a batch; nil checkpoints each.
	do func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error
	// shardEnded and shutdown replace the default.
	shardEnded func(ctx context.Context, p *processor, in kcl.ShardEndedInput) error
	shutdown   func(ctx context.Context, p *processor, in kcl.ShutdownRequestedInput) error
	initialize func(ctx context.Context, p *processor, in kcl.InitializeInput) error
	// leaseLost is called besides the default.
	leaseLost func(ctx context.Context, p *processor)
}

// worker makes a worker and does not start it.
func (r *rig) worker(name string, opts ...func(*scheduler.Config)) *worker {
	client := awstest.Kinesis(r.t, r.srv, func(o *kinesis.Options) { o.HTTPClient = r.srv.HTTPClientFrom(name) })
	w := &worker{r: r, name: name, faults: leasefault.New(r.store), client: client, done: make(chan struct{})}
	cfg := scheduler.Config{
		Application: "app",
		WorkerID:    name,
		Streams:     []scheduler.StreamConfig{{Name: streamName}},
		Kinesis:     client,
		Leases:      w.faults.Store(),
		Logger:      r.log,
		// What this machine is doing must not decide.
		DisableWorkerMetrics: true,
	}
	for _, o := range opts {
		o(&cfg)
	}
	w.Scheduler = scheduler.New(cfg, func(stream kcl.StreamIdentifier, shard kcl.Shard) kcl.Processor {
		return &processor{w: w, stream: stream, shard: shard}
	})
	return w
}

// setDo replaces what the processor of a running worker does.
func (w *worker) setDo(do func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.do = do
}

// start begins Run.
func (w *worker) start() *worker { return w.startWith(context.Background()) }

// startWith begins Run with a context.
func (w *worker) startWith(ctx context.Context) *worker {
	ctx, cancel := context.WithCancel(ctx)
	w.cancel = cancel
	w.r.mu.Lock()
	w.r.workers = append(w.r.workers, w)
	w.r.mu.Unlock()
	go func() { // ends with Run, which stopAll waits for
		defer close(w.done)
		w.err = w.Run(ctx)
	}()
	return w
}

// stop asks for a graceful stop and returns what Run returned.
func (w *worker) stop() error {
	w.cancel()
	<-w.done
	return w.err
}

// kill is what kill -9 looks like inside one process: network and table fall
// silent for ever, and what the processor still does no longer counts.
func (w *worker) kill() {
	// The fence last: a record that no longer counts must not be checkpointed.
	w.faults.SetFault(leasefault.Silent)
	w.r.srv.Kill(w.name)
	w.dead.Store(true)
}

func (r *rig) stopAll() {
	r.mu.Lock()
	workers := slices.Clone(r.workers)
	r.mu.Unlock()
	for _, w := range workers {
		w.cancel()
	}
	for _, w := range workers {
		<-w.done
	}
}

// counts counts what the worker asks its lease table for, from now on.
func (w *worker) counts(ops ...string) *atomic.Int32 {
	n := new(atomic.Int32)
	w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
		if slices.Contains(ops, call.Op) {
			n.Add(1)
		}
		return apply()
	})
	return n
}

// owned counts the shards that live workers process now.
func (r *rig) owned() int {
	n := 0
	for _, w := range r.workers {
		if w.dead.Load() {
			continue
		}
		for _, st := range w.Status().Streams {
			for _, sh := range st.Shards {
				if sh.State == scheduler.StateProcessing {
					n++
				}
			}
		}
	}
	return n
}

// shard returns a worker's view of one shard.
func (w *worker) shard(id string) scheduler.ShardStatus {
	for _, st := range w.Status().Streams {
		for _, sh := range st.Shards {
			if sh.ShardID == id {
				return sh
			}
		}
	}
	return scheduler.ShardStatus{}
}

// eventually lets virtual time pass until cond holds. It asks every fifty milliseconds, and later
// every second, because a condition may be a call.
func (r *rig) eventually(within time.Duration, what string, cond func() bool) {
	r.t.Helper()
	for begin := time.Now(); !cond(); {
		passed := time.Since(begin)
		if passed > within {
			r.t.Fatalf("after %s still not: %s\n%s", within, what, r.dump())
		}
		time.Sleep(max(50*time.Millisecond, min(passed/20, time.Second)).Truncate(50 * time.Millisecond))
	}
}

func (r *rig) dump() string {
	var b strings.Builder
	listing, _ := r.store.List(context.Background())
	slices.SortFunc(listing.Leases, func(a, b leases.Lease) int { return strings.Compare(a.Key, b.Key) })
	for _, l := range listing.Leases {
		fmt.Fprintf(&b, "row %s owner=%s counter=%d checkpoint=%s parents=%v children=%v\n", l.Key, l.ActualOwner(),
			l.Counter, l.Checkpoint, l.Parents, l.Children)
	}
	for _, w := range r.workers {
		fmt.Fprintf(&b, "worker %s healthy: %v\n", w.name, w.Healthy())
		for _, st := range w.Status().Streams {
			for _, sh := range st.Shards {
				if sh.State != scheduler.StateNone {
					behind, known := sh.Behind()
					fmt.Fprintf(&b, "  %s %s records=%d position=%s behind=%s (%t) err=%v\n", sh.ShardID, sh.State, sh.Records,
						sh.Position, behind, known, sh.Err)
				}
			}
		}
	}
	b.WriteString(r.audit.missing())
	return b.String()
}

// payload returns the data of a key's next record.
func (r *rig) payload(key string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.sent[key]
	r.sent[key]++
	return []byte(key + "/" + strconv.Itoa(n))
}

// put writes one record for each key, as the next of that key.
func (r *rig) put(keys ...string) {
	r.t.Helper()
	r.putIn(streamName, keys)
}

// putIn writes one record for each key to a stream.
func (r *rig) putIn(stream string, keys []string) {
	r.t.Helper()
	for chunk := range slices.Chunk(keys, 500) {
		in := &kinesis.PutRecordsInput{StreamName: aws.String(stream)}
		for _, key := range chunk {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String(key), Data: r.payload(key)})
		}
		out, err := r.admin.PutRecords(context.Background(), in)
		require.NoError(r.t, err)
		require.Zero(r.t, aws.ToInt32(out.FailedRecordCount))
		for _, e := range in.Records {
			r.audit.produced(string(e.Data))
		}
	}
}

// keys returns n partition keys.
func keys(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "key" + strconv.Itoa(i)
	}
	return out
}

// produce writes rounds of records, one per key, with a pause after each.
func (r *rig) produce(rounds int, pause time.Duration, keys []string) {
	r.t.Helper()
	for range rounds {
		r.put(keys...)
		time.Sleep(pause)
	}
}

// shards lists the stream's shards.
func (r *rig) shards() []types.Shard {
	r.t.Helper()
	out, err := r.admin.ListShards(context.Background(), &kinesis.ListShardsInput{StreamName: aws.String(streamName)})
	require.NoError(r.t, err)
	return out.Shards
}

// open lists the ids of the shards that take records, by hash range.
func (r *rig) open() []string {
	var open []types.Shard
	for _, s := range r.shards() {
		if s.SequenceNumberRange.EndingSequenceNumber == nil {
			open = append(open, s)
		}
	}
	slices.SortFunc(open, func(a, b types.Shard) int {
		return number(*a.HashKeyRange.StartingHashKey).Cmp(number(*b.HashKeyRange.StartingHashKey))
	})
	ids := make([]string, len(open))
	for i, s := range open {
		ids[i] = *s.ShardId
	}
	return ids
}

func number(s string) *big.Int {
	n, _ := new(big.Int).SetString(s, 10)
	return n
}

// split halves a shard and returns its children.
func (r *rig) split(id string) (left, right string) {
	r.t.Helper()
	for _, s := range r.shards() {
		if *s.ShardId != id {
			continue
		}
		middle := new(big.Int).Add(number(*s.HashKeyRange.StartingHashKey), number(*s.HashKeyRange.EndingHashKey))
		middle.Rsh(middle, 1).Add(middle, big.NewInt(1))
		_, err := r.admin.SplitShard(context.Background(), &kinesis.SplitShardInput{
			StreamName:   aws.String(streamName),
			ShardToSplit: &id, NewStartingHashKey: aws.String(middle.String()),
		})
		require.NoError(r.t, err)
	}
	r.active()
	children := r.childrenOf(id)
	require.Len(r.t, children, 2)
	return children[0], children[1]
}

// merge joins two neighbours and returns their child.
func (r *rig) merge(a, b string) string {
	r.t.Helper()
	_, err := r.admin.MergeShards(context.Background(), &kinesis.MergeShardsInput{
		StreamName:   aws.String(streamName),
		ShardToMerge: &a, AdjacentShardToMerge: &b,
	})
	require.NoError(r.t, err)
	r.active()
	children := r.childrenOf(a)
	require.Len(r.t, children, 1)
	return children[0]
}

func (r *rig) childrenOf(id string) []string {
	var children []string
	for _, s := range r.shards() {
		if aws.ToString(s.ParentShardId) == id || aws.ToString(s.AdjacentParentShardId) == id {
			children = append(children, *s.ShardId)
		}
	}
	return children
}

// active waits until a change of the stream is over.
func (r *rig) active() {
	r.t.Helper()
	r.eventually(time.Minute, "the stream is ACTIVE", func() bool {
		out, err := r.admin.DescribeStreamSummary(context.Background(),
			&kinesis.DescribeStreamSummaryInput{StreamName: aws.String(streamName)})
		return err == nil && out.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive
	})
}

// row returns a lease row.
func (r *rig) row(key string) leases.Lease {
	r.t.Helper()
	row, err := r.store.Get(context.Background(), key)
	require.NoError(r.t, err)
	return row
}

// table returns all lease rows.
func (r *rig) table() []leases.Lease {
	r.t.Helper()
	listing, err := r.store.List(context.Background())
	require.NoError(r.t, err)
	return listing.Leases
}

// finished waits until everything that was produced has been processed.
func (r *rig) finished(within time.Duration) {
	r.t.Helper()
	r.eventually(within, "everything processed", r.audit.complete)
}

// processor is what the workers run: it audits every record and the order of
// its own calls.
type processor struct {
	w      *worker
	stream kcl.StreamIdentifier
	shard  kcl.Shard
	ck     kcl.Checkpointer

	busy  atomic.Bool
	calls strings.Builder // one letter per call: I P L E S, for the life-cycle automaton
	over  bool
}

// enter checks that calls neither overlap nor follow the last one.
func (p *processor) enter(call byte) func() {
	if p.busy.Swap(true) {
		p.w.r.audit.violation("%s %s: call %c while another runs", p.w.name, p.shard.ID, call)
	}
	if p.over {
		p.w.r.audit.violation("%s %s: call %c after the last one (%s)", p.w.name, p.shard.ID, call, p.calls.String())
	}
	p.calls.WriteByte(call)
	return func() { p.busy.Store(false) }
}

func (p *processor) Initialize(ctx context.Context, in kcl.InitializeInput) error {
	defer p.enter('I')()
	if p.w.initialize != nil {
		return p.w.initialize(ctx, p, in)
	}
	return nil
}

func (p *processor) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	defer p.enter('P')()
	p.ck = in.Checkpointer
	p.w.r.mu.Lock()
	do := p.w.do
	p.w.r.mu.Unlock()
	if do != nil {
		return do(ctx, p, in)
	}
	p.take(in)
	return p.checkpoint(ctx, in.Checkpointer)
}

// take audits the records of a batch.
func (p *processor) take(in kcl.ProcessRecordsInput) {
	if !p.w.dead.Load() {
		p.w.r.audit.processed(p.w.name, p.shard.ID, in.Records)
	}
}

func (p *processor) checkpoint(ctx context.Context, ck kcl.Checkpointer) error {
	if err := ck.Checkpoint(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func (p *processor) LeaseLost(ctx context.Context, _ kcl.LeaseLostInput) {
	defer p.enter('L')()
	if p.w.leaseLost != nil {
		p.w.leaseLost(ctx, p)
	}
	p.over = true
	p.w.r.audit.lifecycle(p.calls.String())
}

func (p *processor) ShardEnded(ctx context.Context, in kcl.ShardEndedInput) error {
	defer p.enter('E')()
	if p.w.shardEnded != nil {
		if err := p.w.shardEnded(ctx, p, in); err != nil {
			return err
		}
	}
	p.over = true
	p.w.r.audit.lifecycle(p.calls.String())
	return nil
}

func (p *processor) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	defer p.enter('S')()
	p.w.r.audit.lifecycle(p.calls.String())
	if p.w.shutdown != nil {
		return p.w.shutdown(ctx, p, in)
	}
	return in.Checkpointer.Checkpoint(ctx)
}

// capture makes the workers that follow log to where a test can look.
func (r *rig) capture() *logged {
	l := &logged{}
	r.log = slog.New(slog.NewTextHandler(l, nil))
	return l
}

// logged is a log.
type logged struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), s)
}
