package scheduler_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// Workers that a leader gives their leases read a stream through splits, a merge,
// the death of the leader and a rolling deploy, like those that take them.
func TestFleetWithALeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(4))
		table := dynamotest.Start(dynamotest.Config{Lag: 100 * time.Millisecond})
		t.Cleanup(table.Close)
		start := func(name string) *worker {
			store := dynamodb.New(dynamodb.Config{Client: awstest.DynamoDBFrom(t, table, name), Table: "app", Logger: r.log})
			return r.worker(name, func(c *scheduler.Config) { c.Leases, c.Assignment = store, leases.AssignmentKCL3 }).start()
		}
		a, b, c := start("a"), start("b"), start("c")
		r.eventually(10*time.Second, "all shards are read", func() bool { return r.owned() == 4 })
		r.put(keys(200)...)
		left, _ := r.split(r.open()[0])
		r.put(keys(200)...)
		r.split(left)
		open := r.open()
		r.merge(open[len(open)-2], open[len(open)-1])
		r.put(keys(200)...)
		r.finished(2 * time.Minute)
		r.eventually(time.Minute, "all open shards are read", func() bool { return r.owned() == len(r.open()) })

		workers := []*worker{a, b, c}
		leader := 0
		for i, w := range workers {
			state := w.Status().Assignment
			require.Equal(t, "KCL 3.x", state.Mode)
			if state.Leading {
				leader = i
			}
		}
		table.Network().Host(workers[leader].name).Kill()
		workers[leader].kill()
		r.put(keys(200)...)
		r.eventually(40*time.Second, "everything is processed without the leader", r.audit.complete)

		for i, w := range workers { // one after the other is started again
			if i == leader {
				continue
			}
			start(fmt.Sprintf("%s2", w.name))
			time.Sleep(5 * time.Second)
			require.NoError(t, w.Healthy())
			require.NoError(t, w.stop())
			r.put(keys(100)...)
			r.eventually(10*time.Second, "everything is processed at once", r.audit.complete)
		}
		time.Sleep(time.Minute)
		for _, w := range r.workers[3:] {
			require.NoError(t, w.Healthy())
			require.NoError(t, w.stop())
		}
		r.audit.check(200)
	})
}
