package multilang

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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

// moments are all the moments of a conversation, by the action in which they are.
func moments() map[string][]string {
	all := map[string][]string{
		"initialize":     {"started", "got initialize"},
		"processRecords": {"half of a long line read", "got processRecords"},
		"shardEnded":     {"got shardEnded"}, "shutdownRequested": {"got shutdownRequested"}, "leaseLost": {"got leaseLost"},
	}
	for action := range all {
		if action != "initialize" && action != "leaseLost" {
			all[action] = append(all[action], "before checkpoint of "+action, "half a checkpoint of "+action,
				"sent checkpoint of "+action, "checkpointed in "+action)
		}
		all[action] = append(all[action], "before status of "+action, "half a status of "+action, "sent status of "+action)
	}
	return all
}

// fleet is workers whose processors are real children, and the audit of what the children get and
// what the workers write into the lease table.
type fleet struct {
	t       *testing.T
	srv     *kinesistest.Server
	table   *leasefault.Injector
	env     string
	changed chan struct{} // gets a token after each event

	mu      sync.Mutex // guards the fields below
	open    map[string][]string
	killed  map[string]bool          // shard and action
	hanging map[string]chan struct{} // shards whose children hang until the channel is closed
	sent    map[string]int           // records put into each shard
	seen    map[string]int           // the records of a shard that children got, without a gap
	inHand  map[int]map[string]int   // the next record that a child must get, of each shard
	asked   map[string]bool          // shard and position of each checkpoint that a child asked for
	agreed  map[string]bool          // shards whose end a child has checkpointed
	wrong   []string
}

func newFleet(t *testing.T, shards int) *fleet {
	t.Helper()
	f := &fleet{
		t: t, changed: make(chan struct{}, 1), open: moments(), table: leasefault.New(memory.New()),
		killed: map[string]bool{}, hanging: map[string]chan struct{}{}, sent: map[string]int{}, seen: map[string]int{},
		inHand: map[int]map[string]int{}, asked: map[string]bool{}, agreed: map[string]bool{},
		srv: kinesistest.New(t, kinesistest.Config{
			Streams: []kinesistest.StreamConfig{{Name: streamName, Shards: shards}}, DisableLimits: true,
		}),
	}
	f.table.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
		if call.Op == "update" && call.Update.Set.Has(leases.AttrCheckpoint) {
			f.auditCheckpoint(call.Key, call.Update.To.Checkpoint)
		}
		return apply()
	})
	f.env = listen(t, f.event)
	return f
}

// auditCheckpoint checks that a child has asked for what a worker writes.
func (f *fleet) auditCheckpoint(shard string, at kcl.ExtendedSequenceNumber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at.IsShardEnd() && !f.agreed[shard] || !at.IsSentinel() && !f.asked[shard+" "+at.String()] {
		f.wrong = append(f.wrong, fmt.Sprintf("%s: checkpoint %s, which no child has asked for", shard, at))
	}
}

// event audits what a child tells. It kills the child if this moment is still open and the shard
// has lost no child in this action.
func (f *fleet) event(e childEvent) {
	f.mu.Lock()
	f.audit(e)
	hang := f.hanging[e.Shard]
	for action, open := range f.open {
		i := slices.Index(open, e.Moment)
		victim := e.Shard + " " + action
		if i < 0 || hang != nil || e.Shard != "" && f.killed[victim] {
			continue
		}
		f.killed[victim] = true
		f.open[action] = slices.Delete(open, i, i+1)
		if err := syscall.Kill(e.PID, syscall.SIGKILL); err != nil {
			f.wrong = append(f.wrong, err.Error())
		}
	}
	f.mu.Unlock()
	f.signal()
	if hang != nil && e.Moment == "got processRecords" {
		<-hang
	}
}

func (f *fleet) signal() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// audit checks the records of a batch, which are named "shard/number". A child gets them without a
// gap, and begins at no later record than the first that no child got.
func (f *fleet) audit(e childEvent) {
	for _, data := range e.Data {
		name, _, _ := strings.Cut(data, " ")
		shard, number, _ := strings.Cut(name, "/")
		n, err := strconv.Atoi(number)
		next, begun := f.inHand[e.PID][shard]
		if err != nil || shard != e.Shard || begun && n != next || n > f.seen[shard] {
			f.wrong = append(f.wrong,
				fmt.Sprintf("child of %s got %.60q, want %d or up to %d", e.Shard, data, next, f.seen[shard]))
		}
		for _, s := range f.srv.Shards(streamName) {
			if s.ID != shard || begun {
				continue
			}
			for _, parent := range []string{s.ParentID, s.AdjacentParentID} {
				if f.seen[parent] < f.sent[parent] {
					f.wrong = append(f.wrong, fmt.Sprintf("%s is read before its parent %s", shard, parent))
				}
			}
		}
		if f.inHand[e.PID] == nil {
			f.inHand[e.PID] = map[string]int{}
		}
		f.inHand[e.PID][shard] = n + 1
		f.seen[shard] = max(f.seen[shard], n+1)
	}
	if e.Moment == "checkpointed in shardEnded" {
		f.agreed[e.Shard] = true
	}
	if strings.HasPrefix(e.Moment, "before checkpoint in ") {
		f.asked[e.Shard+" "+e.Asked] = true
	}
}

// put writes n records to each open shard. The first one of a shard makes a long line.
func (f *fleet) put(n int) {
	f.t.Helper()
	for _, s := range f.srv.Shards(streamName) {
		for i := 0; s.Open && i < n; i++ {
			f.mu.Lock()
			number := f.sent[s.ID]
			f.sent[s.ID]++
			f.mu.Unlock()
			data := fmt.Sprintf("%s/%d ", s.ID, number)
			if number == 0 {
				data += strings.Repeat("x", 400<<10)
			}
			_, err := f.srv.PutToShard(streamName, s.ID, s.ID, []byte(data))
			require.NoError(f.t, err)
		}
	}
}

// await waits until cond holds, which is asked after each event.
func (f *fleet) await(what string, cond func() bool) {
	f.t.Helper()
	limit := time.After(time.Minute)
	for {
		f.mu.Lock()
		ok := cond() || len(f.wrong) > 0
		f.mu.Unlock()
		if ok {
			break
		}
		select {
		case <-f.changed:
		case <-limit:
			f.t.Fatalf("still not: %s\nsent %v\nseen %v\nmoments left %v", what, f.sent, f.seen, f.open)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Empty(f.t, f.wrong)
}

// complete tells whether every record was seen, apart from those of the given shards.
func (f *fleet) complete(except ...string) bool {
	for shard, n := range f.sent {
		if f.seen[shard] < n && !slices.Contains(except, shard) {
			return false
		}
	}
	return true
}

// fleetWorker is a scheduler with its children.
type fleetWorker struct {
	*scheduler.Scheduler
	command *Command
	stop    func() error
}

func (f *fleet) worker(name string) *fleetWorker {
	f.t.Helper()
	log := slog.New(slog.NewTextHandler(f.t.Output(), nil)).With("worker", name)
	command := runCommand(f.t, "good", CommandConfig{Logger: log}, f.env)
	s := scheduler.New(scheduler.Config{
		Application: "app", WorkerID: name, Streams: []scheduler.StreamConfig{{Name: streamName}},
		Kinesis: awstest.Kinesis(f.t, f.srv), Leases: f.table.Store(), RetrievalMode: scheduler.Polling,
		FailoverTime: 2 * time.Second, ShardSyncInterval: time.Second, Logger: log, DisableWorkerMetrics: true,
	}, command.NewProcessor)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }() // ends with stop
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	f.t.Cleanup(func() { _ = stop() })
	return &fleetWorker{Scheduler: s, command: command, stop: stop}
}

// TestM04KilledAtAnyMoment: children of a fleet are killed with SIGKILL at every moment of the
// conversation, through splits, a merge, hand-overs and a stop. Every record is seen, in order.
// Nothing is checkpointed for which no child has asked. A child that hangs delays its own shard
// alone.
func TestM04KilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 10)
	first := f.srv.Shards(streamName)
	slow := first[9].ID
	hang := make(chan struct{})
	f.hanging[slow] = hang

	w := f.worker("first")
	f.put(2)
	done := func(actions ...string) bool {
		return !slices.ContainsFunc(actions, func(a string) bool { return len(f.open[a]) > 0 })
	}
	f.await("all shards but one", func() bool { return f.complete(slow) && done("initialize") })
	for range 20 { // a child is killed once in processRecords, so a few batches suffice
		f.put(1)
		f.await("all shards but one", func() bool { return f.complete(slow) })
		if f.mu.Lock(); done("processRecords") {
			f.mu.Unlock()
			break
		}
		f.mu.Unlock()
	}
	f.mu.Lock()
	require.Less(t, f.seen[slow], f.sent[slow], "the child of %s hangs", slow)
	close(hang)
	delete(f.hanging, slow)
	f.mu.Unlock()

	f.put(1)
	for _, s := range first[:8] {
		_, _, err := f.srv.SplitShard(streamName, s.ID)
		require.NoError(t, err)
	}
	_, err := f.srv.MergeShards(streamName, first[8].ID, first[9].ID)
	require.NoError(t, err)
	f.put(3)
	f.await("the children of all shards", func() bool {
		return f.complete() && done("initialize", "processRecords", "shardEnded")
	})

	var second *fleetWorker
	if !testing.Short() {
		second = f.worker("second") // gets half of the shards by hand-overs
		f.await("children of the second worker", func() bool { return second.command.Stats().Children >= 8 })
	}
	f.put(2)
	require.NoError(t, w.stop())
	require.Zero(t, w.command.Stats().Children)
	f.await("moments of the stop", func() bool { return done(slices.Collect(maps.Keys(f.open))...) })
	f.put(2)
	if second == nil {
		second = f.worker("second")
	}
	f.await("all records after the stop", func() bool { return f.complete() })
	require.NoError(t, second.stop())
	require.Zero(t, second.command.Stats().EndedEarly)
	stats := w.command.Stats()
	require.Positive(t, stats.EndedEarly)
	require.Zero(t, stats.NotStarted+stats.WrongAnswers+stats.TooLate+stats.UnfinishedShards)
	f.await("nothing", func() bool { return true })
}
