package dynamodb_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// TestL03ColdStartOverDynamoDB starts ten workers at the same time on a table with a thousand free
// leases. Listings lag as much as those of a real table may.
func TestL03ColdStartOverDynamoDB(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const workers = 10
		shards := testsize.Pick(50, 300, 1000)
		srv := dynamotest.Start(dynamotest.Config{Lag: 500 * time.Millisecond})
		t.Cleanup(srv.Close)
		srv.Inject(dynamotest.Fault{Do: []dynamotest.Action{dynamotest.Delay(8 * time.Millisecond)}})
		f := newFleet(t, srv, shards)
		time.Sleep(time.Second)
		begun := time.Now()
		for i := range workers {
			t.Cleanup(f.start(fmt.Sprintf("worker-%d", i), 0))
		}
		for total := 0; total < shards; {
			require.Less(t, time.Since(begun), 30*time.Second, "%v", f.read())
			time.Sleep(100 * time.Millisecond)
			total = 0
			for _, n := range f.read() {
				total += n
			}
		}
		t.Logf("all are read after %v: %v", time.Since(begun), f.read())
		time.Sleep(30*time.Second - time.Since(begun))
		for id, n := range f.read() {
			require.InDelta(t, shards/workers, n, 1, id)
		}
		require.Empty(t, f.doubles)
	})
}

// processing starts a worker whose consumers process a record each 200 ms from the checkpoint on.
// They checkpoint each record.
func (f *fleet) processing(id string) {
	f.t.Cleanup(f.run(id, func(ctx context.Context, h *holder.Holder) {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for n, _ := strconv.Atoi(h.Lease().Checkpoint.SequenceNumber); ; {
			select {
			case <-ctx.Done():
				return
			case <-h.Stopping():
				return
			case <-tick.C:
				if !h.Valid() {
					return
				}
				n++
				_ = h.Checkpoint(ctx, kcl.ExtendedSequenceNumber{SequenceNumber: strconv.Itoa(n)})
			}
		}
	}))
}

// watched holds the last seen checkpoint of each lease.
type watched map[string]int

// look reads all rows, and requires that no checkpoint has moved backwards.
func (w watched) look(f *fleet) map[string]leases.Lease {
	f.t.Helper()
	l, err := storeOn(f.t, f.srv, func(c *dynamodb.Config) { c.ConsistentList = true }).List(f.t.Context())
	require.NoError(f.t, err)
	rows := map[string]leases.Lease{}
	for _, row := range l.Leases {
		n, _ := strconv.Atoi(row.Checkpoint.SequenceNumber)
		require.GreaterOrEqual(f.t, n, w[row.Key], "the checkpoint of %s moved backwards", row.Key)
		w[row.Key] = n
		rows[row.Key] = row
	}
	return rows
}

// owners reads all rows, and counts the leases of each worker.
func (w watched) owners(f *fleet) map[string]int {
	f.t.Helper()
	n := map[string]int{}
	for _, row := range w.look(f) {
		n[row.Owner]++
	}
	return n
}

// TestL04FrozenWorkerOverDynamoDB holds back all requests of a worker, as if it was stopped in the
// middle of them. Another worker takes over and goes on. Then the requests arrive, with the
// repetitions of the SDK.
func TestL04FrozenWorkerOverDynamoDB(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{Lag: 100 * time.Millisecond})
		t.Cleanup(srv.Close)
		f, w := newFleet(t, srv, 6), watched{}
		f.processing("a")
		time.Sleep(30 * time.Second)
		for _, row := range w.look(f) {
			require.Equal(t, "a", row.Owner)
		}
		var held atomic.Int64
		thaw := srv.Freeze(func(c dynamotest.Call) bool {
			if c.Client != "a" {
				return false
			}
			if c.Operation == "UpdateItem" {
				held.Add(1)
			}
			return true
		})
		f.processing("b")
		time.Sleep(17500 * time.Millisecond)
		for key, row := range w.look(f) {
			require.Equal(t, "b", row.Owner, key)
		}
		time.Sleep(time.Minute)
		before := w.look(f)
		thaw()
		synctest.Wait()
		for key, row := range w.look(f) {
			require.Equal(t, before[key].ActualOwner(), row.ActualOwner(), key)
			require.Equal(t, before[key].Checkpoint, row.Checkpoint, "%s: what came late took no effect", key)
			require.Equal(t, before[key].Counter, row.Counter, key)
		}
		require.Positive(t, held.Load())
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"a": 3, "b": 3}, w.owners(f), "and a has its share again")
	})
}

// TestL14ThreeHoursWithoutTheTable takes the table away from three workers for three hours, and
// gives it back. In these hours they process nothing.
func TestL14ThreeHoursWithoutTheTable(t *testing.T) {
	t.Parallel()
	each := testsize.Pick(2, 4, 4) // leases
	for name, outage := range testsize.Some(1, map[string]dynamotest.Action{
		"answers with errors": dynamotest.Fail("InternalServerError", "Internal server error"),
		"cuts connections":    dynamotest.LoseRequest(),
		"says nothing":        dynamotest.Silence(),
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := dynamotest.Start(dynamotest.Config{Lag: 100 * time.Millisecond})
				t.Cleanup(srv.Close)
				f, w := newFleet(t, srv, 3*each), watched{}
				for _, id := range []string{"a", "b", "c"} {
					f.processing(id)
				}
				time.Sleep(time.Minute)
				w.look(f)
				restore := srv.Inject(dynamotest.Fault{
					When: func(c dynamotest.Call) bool { return c.Client != "client" }, Do: []dynamotest.Action{outage},
				})
				time.Sleep(15 * time.Second)
				before := w.look(f)
				time.Sleep(testsize.Pick(4*time.Minute, 30*time.Minute, 3*time.Hour))
				require.Equal(t, before, w.look(f), "nobody could write")
				calls := srv.AllCalls()["Scan"]
				restore()
				back := time.Now()
				for behind := len(before); behind > 0; {
					require.Less(t, time.Since(back), 42*time.Second, "%d leases are not read yet", behind) // F + P + 30 s
					time.Sleep(500 * time.Millisecond)
					behind = 0
					for key, row := range w.look(f) {
						if row.Checkpoint == before[key].Checkpoint {
							behind++
						}
					}
				}
				t.Logf("all are read again after %v; %d scans", time.Since(back), calls)
				time.Sleep(time.Minute)
				require.Equal(t, map[string]int{"a": each, "b": each, "c": each}, w.owners(f))
			})
		})
	}
}
