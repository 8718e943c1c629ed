package processors_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/scheduler"
)

var quiet = slog.New(slog.DiscardHandler)

// row is a lease row without a lease table. It keeps all positions that were written.
type row struct {
	mu      sync.Mutex // guards the fields below
	written []string
	fail    error
}

func (r *row) Checkpoint(_ context.Context, pos kcl.ExtendedSequenceNumber) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	r.written = append(r.written, pos.String())
	return nil
}

func (r *row) Prepare(_ context.Context, pos kcl.ExtendedSequenceNumber, _ []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written = append(r.written, "prepared "+pos.String())
	return nil
}

func (r *row) setFail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// all returns all positions that were written.
func (r *row) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.written...)
}

func (r *row) last() string {
	if all := r.all(); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// shard calls a processor as the scheduler does, with a real checkpointer.
type shard struct {
	row    *row
	ck     *checkpoint.Checkpointer
	p      kcl.Processor
	ctx    context.Context //nolint:containedctx // a test's, for all calls of one lease
	cancel context.CancelCauseFunc
}

// tb is a *testing.T or a *rapid.T.
type tb interface {
	require.TestingT
	Helper()
}

func open(t tb, p kcl.Processor) *shard {
	t.Helper()
	start := kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon}
	s := &shard{row: &row{}, p: p}
	s.ck = checkpoint.New(s.row, start, nil)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	require.NoError(t, p.Initialize(s.ctx, kcl.InitializeInput{
		Stream: kcl.StreamIdentifier{Name: "orders"}, Shard: kcl.Shard{ID: "shardId-000000000000"}, Checkpoint: start,
	}))
	return s
}

func (s *shard) deliver(records ...kcl.Record) error {
	s.ck.Delivered(records[len(records)-1].Position())
	return s.p.ProcessRecords(s.ctx, kcl.ProcessRecordsInput{Records: records, Checkpointer: s.ck, ReceivedAt: time.Now()})
}

func (s *shard) shutdown() error {
	defer s.cancel(nil)
	return s.p.ShutdownRequested(s.ctx, kcl.ShutdownRequestedInput{Checkpointer: s.ck})
}

func (s *shard) end() error {
	return s.p.ShardEnded(s.ctx, kcl.ShardEndedInput{Checkpointer: s.ck})
}

func (s *shard) lose() {
	s.cancel(kcl.ErrLeaseLost)
	s.ck.Close(kcl.ErrLeaseLost)
	s.p.LeaseLost(context.Background(), kcl.LeaseLostInput{})
}

// rec returns the record number n, with n as its data. An empty key means no key.
func rec(n int, key string) kcl.Record {
	f := kcl.RecordFields{SequenceNumber: strconv.Itoa(n), Data: []byte(strconv.Itoa(n))}
	if key != "" {
		f.PartitionKey = &key
	}
	return kcl.NewRecord(f)
}

// recs returns the records from to to, with the keys in turn.
func recs(from, to int, keys ...string) []kcl.Record {
	if len(keys) == 0 {
		keys = []string{"k"}
	}
	var out []kcl.Record
	for n := from; n <= to; n++ {
		out = append(out, rec(n, keys[n%len(keys)]))
	}
	return out
}

// seen keeps the records that a handler gets. It is safe for concurrent use.
type seen struct {
	mu  sync.Mutex // guards all
	all []string
}

func (s *seen) add(records ...kcl.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.all = append(s.all, string(r.Data()))
	}
}

func (s *seen) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.all...)
}

func numbers(from, to int) []string {
	var out []string
	for n := from; n <= to; n++ {
		out = append(out, strconv.Itoa(n))
	}
	return out
}

// worker is a scheduler that reads the fake Kinesis, with leases in memory.
type worker struct {
	t      *testing.T
	admin  *kinesis.Client
	store  *memory.Store
	cfg    scheduler.Config
	cancel context.CancelFunc
	done   chan error
}

func newWorker(t *testing.T) *worker {
	t.Helper()
	srv := kinesistest.New(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 1}}})
	w := &worker{t: t, admin: awstest.Kinesis(t, srv), store: memory.New()}
	w.cfg = scheduler.Config{
		Application: "app", Streams: []scheduler.StreamConfig{{Name: "orders"}},
		Kinesis: w.admin, Leases: w.store,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	return w
}

func (w *worker) start(p func() kcl.Processor) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.done = cancel, make(chan error, 1)
	s := scheduler.New(w.cfg, func(kcl.StreamIdentifier, kcl.Shard) kcl.Processor { return p() })
	go func() { w.done <- s.Run(ctx) }() // ends with Run, which stop waits for
}

func (w *worker) stop() {
	w.t.Helper()
	w.cancel()
	require.NoError(w.t, <-w.done)
}

func (w *worker) put(from, to int, keys ...string) {
	w.t.Helper()
	in := &kinesis.PutRecordsInput{StreamName: aws.String("orders")}
	for _, r := range recs(from, to, keys...) {
		key, _ := r.PartitionKey()
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String(key), Data: r.Data()})
	}
	_, err := w.admin.PutRecords(context.Background(), in)
	require.NoError(w.t, err)
}

// split splits the stream's shard, so that the shard ends.
func (w *worker) split() {
	w.t.Helper()
	_, err := w.admin.SplitShard(context.Background(), &kinesis.SplitShardInput{
		StreamName: aws.String("orders"), ShardToSplit: aws.String("shardId-000000000000"),
		NewStartingHashKey: aws.String("170141183460469231731687303715884105728"),
	})
	require.NoError(w.t, err)
}

// checkpoint returns the checkpoint of the shard's lease.
func (w *worker) checkpoint() string {
	w.t.Helper()
	row, err := w.store.Get(context.Background(), "shardId-000000000000")
	require.NoError(w.t, err)
	return row.Checkpoint.SequenceNumber
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !cond(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.Fail(t, fmt.Sprintf("still not: %s", what))
		}
	}
}
