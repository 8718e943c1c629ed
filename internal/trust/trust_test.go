package trust_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/trust"
)

// TestTimesOfALease: an owner stops before others take its lease, and a call fails while there is
// time for two more.
func TestTimesOfALease(t *testing.T) {
	t.Parallel()
	for failover, want := range map[time.Duration]struct{ window, respect, call time.Duration }{
		0:                    {0, 0, 0},
		time.Nanosecond:      {0, time.Nanosecond, 0},
		time.Second:          {950 * time.Millisecond, 1050 * time.Millisecond, 333_333_333 * time.Nanosecond},
		10 * time.Second:     {9500 * time.Millisecond, 10_500 * time.Millisecond, 3_333_333_333 * time.Nanosecond},
		24 * time.Hour:       {22*time.Hour + 48*time.Minute, 25*time.Hour + 12*time.Minute, 8 * time.Hour},
		365 * 24 * time.Hour: {8322 * time.Hour, 9198 * time.Hour, 2920 * time.Hour},
	} {
		require.Equal(t, want.window, trust.Window(failover), failover)
		require.Equal(t, want.respect, trust.Respect(failover), failover)
		require.Equal(t, want.call, trust.CallTimeout(failover), failover)
		require.LessOrEqual(t, 2*want.call, want.window, failover)
	}
}

// TestSinceIsTheLargerTime: the clock that has moved further counts (I5).
func TestSinceIsTheLargerTime(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	begin := trust.Instant{Wall: time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC), Mono: 5 * hour}
	for name, c := range map[string]struct{ wall, mono, want time.Duration }{
		"the same moment":                {0, 0, 0},
		"clocks agree":                   {hour, hour, hour},
		"wall clock set back":            {-24 * hour, hour, hour},
		"wall clock set forward":         {24 * hour, hour, 24 * hour},
		"machine suspended":              {hour, time.Second, hour},
		"monotonic clock is a bit ahead": {hour, hour + 1, hour + 1},
		"wall clock is a bit ahead":      {hour + 1, hour, hour + 1},
		"an earlier moment":              {-2 * hour, -hour, -hour},
	} {
		now := trust.Instant{Wall: begin.Wall.Add(c.wall), Mono: begin.Mono + c.mono}
		require.Equal(t, c.want, now.Since(begin), name)
	}
}

// TestClockReadsBothClocks: the clock notices a wall clock that was set.
func TestClockReadsBothClocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var set time.Duration // how far the wall clock has been set forward
		clock := trust.NewClock(func() time.Time { return time.Now().Add(set) })
		require.Zero(t, clock.Now().Mono)
		for name, c := range map[string]struct{ set, want time.Duration }{
			"not set":     {0, time.Minute},
			"set forward": {time.Hour, time.Hour + time.Minute},
			"set back":    {-time.Hour, time.Minute},
		} {
			set = 0
			begin := clock.Now()
			set = c.set
			time.Sleep(time.Minute)
			now := clock.Now()
			require.Equal(t, c.want, now.Since(begin), name)
			require.Equal(t, time.Minute, now.Mono-begin.Mono, name)
		}
	})
}

// TestWallHasNoMonotonicReading: with such a reading, the difference of two wall times would be
// that of the monotonic clock. The times in a bubble never have one.
func TestWallHasNoMonotonicReading(t *testing.T) {
	t.Parallel()
	require.Contains(t, time.Now().String(), "m=")
	for name, wall := range map[string]func() time.Time{"default": nil, "of a test": time.Now} {
		require.NotContains(t, trust.NewClock(wall).Now().Wall.String(), "m=", name)
	}
}

func TestClockOfTheMachine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock := trust.NewClock(nil)
		begin := clock.Now()
		require.True(t, begin.Wall.Equal(time.Now()))
		time.Sleep(time.Minute)
		require.Equal(t, time.Minute, clock.Now().Since(begin))
	})
}
