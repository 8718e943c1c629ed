package dynamodb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasetest"
)

// segmentsOf lists the table once and returns the segments that the requests named. A plain scan
// names none.
func segmentsOf(t *testing.T, srv *dynamotest.Server, s *dynamodb.Store) map[int]int {
	t.Helper()
	var mu sync.Mutex // guards the map
	seen := map[int]int{}
	defer srv.Inject(dynamotest.Fault{Operation: "Scan", When: func(c dynamotest.Call) bool {
		var in struct{ Segment, TotalSegments *int }
		if json.Unmarshal(c.Body, &in) == nil && in.Segment != nil {
			mu.Lock()
			defer mu.Unlock()
			seen[*in.Segment] = *in.TotalSegments
		}
		return false
	}})()
	_, err := s.List(t.Context())
	require.NoError(t, err)
	return seen
}

// TestScanSegments: the table is read in as many segments as by the KCL.
func TestScanSegments(t *testing.T) {
	t.Parallel()
	const gb = 1 << 30
	for _, tt := range []struct {
		configured int
		bytes      int64
		want       int
	}{
		{0, 0, 1},
		{0, gb / 5, 1},
		{0, gb/5 + 1, 2},
		{0, gb, 5},
		{0, 100 * gb, 32},
		{0, 1 << 62 / 5, 32},
		{3, 100 * gb, 3},
		{1, 100 * gb, 1},
	} {
		srv, s := serve(t, dynamotest.Config{TableSize: tt.bytes}, func(c *dynamodb.Config) {
			c.ScanSegments = tt.configured
		})
		require.NoError(t, s.Init(t.Context()))
		want := map[int]int{}
		if tt.want > 1 { // otherwise it is a plain scan
			for i := range tt.want {
				want[i] = tt.want
			}
		}
		require.Equal(t, want, segmentsOf(t, srv, s), "%+v", tt)
	}
	for _, n := range []int{-1, 1001} {
		_, s := serve(t, dynamotest.Config{}, func(c *dynamodb.Config) { c.ScanSegments = n })
		require.ErrorContains(t, s.Init(t.Context()), "Config.ScanSegments")
	}
}

// TestTableSizeIsKnownForTwoHours: not every listing asks for the size of the table. A table of
// unknown size is read in ten segments.
func TestTableSizeIsKnownForTwoHours(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{TableSize: 1 << 30})
		defer srv.Close()
		s := storeOn(t, srv)
		require.NoError(t, s.Init(t.Context()))
		calls := srv.Calls("DescribeTable")
		require.Len(t, segmentsOf(t, srv, s), 5)
		time.Sleep(2*time.Hour - time.Second)
		require.Len(t, segmentsOf(t, srv, s), 5)
		require.Equal(t, calls, srv.Calls("DescribeTable"))
		time.Sleep(time.Second)
		heal := srv.Inject(dynamotest.Fault{Operation: "DescribeTable", Do: []dynamotest.Action{dynamotest.Deny()}})
		require.Len(t, segmentsOf(t, srv, s), 10)
		heal()
		require.Len(t, segmentsOf(t, srv, s), 10)
		time.Sleep(time.Minute)
		require.Len(t, segmentsOf(t, srv, s), 5)
	})
}

// TestLeaseStoreInSegments runs the suite with seven segments.
func TestLeaseStoreInSegments(t *testing.T) {
	t.Parallel()
	leasetest.TestStore(t, func(t *testing.T) leases.Store {
		_, s := serve(t, dynamotest.Config{PageRows: 7, EmptyPages: true}, func(c *dynamodb.Config) { c.ScanSegments = 7 })
		return s
	})
}

// TestSegmentFails: a segment that fails makes the listing fail at once, with its own error.
func TestSegmentFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{})
		defer srv.Close()
		s := storeOn(t, srv, func(c *dynamodb.Config) { c.ScanSegments = 5 })
		require.NoError(t, s.Init(t.Context()))
		for i := range 20 {
			srv.Put(table, dynamotest.Item{"leaseKey": dynamotest.S(fmt.Sprint(i))})
		}
		segment := func(n int) func(dynamotest.Call) bool {
			return func(c dynamotest.Call) bool {
				var in struct{ Segment *int }
				return json.Unmarshal(c.Body, &in) == nil && in.Segment != nil && *in.Segment == n
			}
		}
		defer srv.Inject(dynamotest.Fault{Operation: "Scan", When: segment(3), Do: []dynamotest.Action{dynamotest.Deny()}})()
		defer srv.Inject(dynamotest.Fault{
			Operation: "Scan", When: segment(0), Do: []dynamotest.Action{dynamotest.Silence()},
		})()
		began := time.Now()
		l, err := s.List(t.Context())
		require.ErrorContains(t, err, "dynamodb:Scan")
		require.NotErrorIs(t, err, context.Canceled)
		require.Empty(t, l.Leases)
		require.Less(t, time.Since(began), time.Second)
	})
}

func TestOnCreate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{SettleTime: 20 * time.Second})
		defer srv.Close()
		var mu sync.Mutex // guards called
		var called []string
		failure := errors.New("no alarms today")
		on := func(c *dynamodb.Config) {
			c.OnCreate = func(ctx context.Context, name string) error {
				mu.Lock()
				defer mu.Unlock()
				called = append(called, name)
				return failure
			}
		}
		var wg sync.WaitGroup
		errs := make([]error, 3)
		for i := range errs {
			s := storeOn(t, srv, on)
			wg.Go(func() { errs[i] = s.Init(t.Context()) })
		}
		wg.Wait()
		require.Equal(t, []string{table}, called, "by the worker that made it")
		err := errors.Join(errs...)
		require.ErrorIs(t, err, failure)
		require.ErrorContains(t, err, "Config.OnCreate for the new table "+table)
		require.NoError(t, storeOn(t, srv, on).Init(t.Context()))
		require.Len(t, called, 1, "the table is there")
	})
}
