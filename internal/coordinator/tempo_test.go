package coordinator_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

// slowFor takes d for each call of op.
func slowFor(op string, d time.Duration) leasefault.Fault {
	slow := leasefault.Slow(d)
	return func(ctx context.Context, call leasefault.Call, apply func() error) error {
		if call.Op == op {
			return slow(ctx, call, apply)
		}
		return apply()
	}
}

// seldom answers one listing in d and fails the others.
func seldom(d time.Duration) leasefault.Fault {
	var last time.Time
	return func(_ context.Context, call leasefault.Call, apply func() error) error {
		if call.Op == "list" {
			if time.Since(last) < d {
				return errStore
			}
			last = time.Now()
		}
		return apply()
	}
}

// The leases of a killed worker are taken, however long the time between two listings is.
func TestLeasesExpireBetweenRareListings(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		failover time.Duration
		fault    leasefault.Fault
		within   time.Duration
	}{
		"failover 1s":               {time.Second, nil, 3 * time.Second},
		"failover 1.5s":             {1500 * time.Millisecond, nil, 4 * time.Second},
		"failover 2s":               {2 * time.Second, nil, 5 * time.Second},
		"failover 2.4s":             {2400 * time.Millisecond, nil, 6 * time.Second},
		"failover 10s":              {10 * time.Second, nil, 17500 * time.Millisecond},
		"a listing takes 5s":        {10 * time.Second, slowFor("list", 5*time.Second), 30 * time.Second},
		"a listing takes 7.7s":      {10 * time.Second, slowFor("list", 7700*time.Millisecond), time.Minute},
		"a listing takes 8s":        {10 * time.Second, slowFor("list", 8*time.Second), time.Minute},
		"a listing takes 9.5s":      {10 * time.Second, slowFor("list", 9500*time.Millisecond), time.Minute},
		"one listing in 11s is let": {10 * time.Second, seldom(11 * time.Second), time.Minute},
		"one listing in 30s is let": {10 * time.Second, seldom(30 * time.Second), 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.New(t, 6)
				same := func(c *coordinator.Config) { c.FailoverTime = tc.failover }
				a := f.Start("a", same)
				time.Sleep(20 * time.Second)
				b := f.Prepare("b", same)
				b.Faults.SetFault(tc.fault)
				b.Run()
				time.Sleep(2 * time.Minute)
				a.Kill()
				time.Sleep(tc.within)
				require.Equal(t, map[string]int{"b": 6}, f.Load())
			})
		})
	}
}

// A leader lists the table less often than once in FailoverTime. It gives leases to workers that
// join, and assigns those of a dead worker.
func TestLeaderWithRareListings(t *testing.T) {
	t.Parallel()
	leases := testsize.Pick(4, 6, 6)
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, leases, func(c *dynamotest.Config) { c.PageRows = 3 })
		f.Is3x()
		for _, client := range []string{"a", "b"} {
			f.Server.Inject(dynamotest.Fault{
				Operation: "Scan", Client: client,
				Do: []dynamotest.Action{dynamotest.Delay(2300 * time.Millisecond)},
			})
		}
		f.Start("a")
		time.Sleep(2 * time.Minute)
		require.Equal(t, map[string]int{"a": leases}, f.Load())
		b := f.Start("b")
		time.Sleep(5 * time.Minute)
		f.RequireBalance("a", "b")
		b.Kill()
		time.Sleep(5 * time.Minute)
		require.Equal(t, map[string]int{"a": leases}, f.Load())
	})
}

// A warning at the first round says that the table is too slow for FailoverTime, and what to do. It
// ends once the table is fast enough.
func TestSlowTableIsTold(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		failover time.Duration
		fault    leasefault.Fault
		text     string
	}{
		"listing":      {10 * time.Second, slowFor("list", 8*time.Second), "takes 8s to list"},
		"no listing":   {10 * time.Second, slowFor("list", time.Hour), "takes 10s to list"},
		"short time":   {time.Second, slowFor("list", 600*time.Millisecond), "FailoverTime 1s"},
		"writes":       {time.Second, slowFor("update", 400*time.Millisecond), "a third of FailoverTime 1s"},
		"fast enough":  {10 * time.Second, slowFor("list", 3*time.Second), ""},
		"quick enough": {time.Second, leasefault.Slow(100 * time.Millisecond), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.New(t, 3)
				a := f.Prepare("a", func(c *coordinator.Config) { c.FailoverTime = tc.failover })
				a.Faults.SetFault(tc.fault)
				a.Run()
				time.Sleep(tc.failover + time.Second)
				if tc.text == "" {
					require.NoError(t, a.Coordinator.TooSlow())
					return
				}
				require.ErrorContains(t, a.Coordinator.TooSlow(), tc.text)
				require.ErrorContains(t, a.Coordinator.TooSlow(), "raise FailoverTime")
				require.Contains(t, f.Warned.String(), "lease table is too slow")
				a.Faults.SetFault(nil)
				time.Sleep(2 * tc.failover)
				require.NoError(t, a.Coordinator.TooSlow())
				f.RequireBalance("a")
			})
		})
	}
}
