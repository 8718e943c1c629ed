package line_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/line"
)

// A connection ends after three failures in a row, of all calls or of one caller, and with its age.
func TestHealthOfAConnection(t *testing.T) {
	t.Parallel()
	type call struct {
		at     time.Duration // age of the connection
		caller string
		good   bool
	}
	const s = time.Second
	for name, c := range map[string]struct {
		calls []call
		age   time.Duration // when Ended is asked
		ended bool
	}{
		"new":            {nil, 0, false},
		"two failures":   {[]call{{20 * s, "a", false}, {21 * s, "a", false}}, 30 * s, false},
		"three failures": {[]call{{20 * s, "a", false}, {21 * s, "b", false}, {22 * s, "c", false}}, 22 * s, true},
		"a success between": {[]call{
			{20 * s, "a", false},
			{21 * s, "b", false},
			{22 * s, "c", true},
			{23 * s, "c", false},
		}, 30 * s, false},
		"too young":           {[]call{{s, "a", false}, {s, "a", false}, {s, "a", false}}, 9 * s, false},
		"no longer too young": {[]call{{s, "a", false}, {s, "a", false}, {s, "a", false}}, 10 * s, true},
		"a success in time": {
			[]call{{s, "a", false}, {s, "a", false}, {s, "a", false}, {9 * s, "b", true}},
			11 * s,
			false,
		},
		"one caller among others": {[]call{
			{20 * s, "a", false},
			{21 * s, "b", true},
			{22 * s, "a", false},
			{23 * s, "b", true},
			{24 * s, "a", false},
		}, 25 * s, true},
		"it stays ended": {[]call{
			{20 * s, "a", false},
			{20 * s, "a", false},
			{20 * s, "a", false},
			{21 * s, "b", true},
			{22 * s, "a", true},
		}, 23 * s, true},
		"a caller that works anew": {[]call{
			{20 * s, "a", false},
			{21 * s, "b", true},
			{22 * s, "a", false},
			{23 * s, "a", true},
			{24 * s, "b", true},
			{25 * s, "a", false},
		}, 26 * s, false},
		"half an hour":          {nil, 30*time.Minute - s, false},
		"older than any may be": {nil, 40*time.Minute + s, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				born, h := time.Now(), line.NewHealth()
				for _, call := range c.calls {
					time.Sleep(time.Until(born.Add(call.at)))
					h.Record(call.caller, call.good)
				}
				time.Sleep(time.Until(born.Add(c.age)))
				require.Equal(t, c.ended, h.Ended())
			})
		})
	}
}
