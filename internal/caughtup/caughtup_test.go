package caughtup_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/caughtup"
)

var begin = time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)

// batch is a batch that came some time after begin.
func batch(after time.Duration, records int, lag time.Duration) kcl.Batch {
	return kcl.Batch{ReceivedAt: begin.Add(after), Records: make([]kcl.Record, records), BehindLatest: lag}
}

// blind is a batch without a lag.
func blind(after time.Duration, records int) kcl.Batch {
	return kcl.Batch{ReceivedAt: begin.Add(after), Records: make([]kcl.Record, records), LagUnknown: true}
}

// TestCaughtUp: two answers with a lag of 0 and no record after the first, a second apart, prove
// that nothing is unread. Any lag, known or not, is a contradiction.
func TestCaughtUp(t *testing.T) {
	t.Parallel()
	const second = time.Second
	first, next := batch(0, 0, 0), batch(second, 0, 0)
	for name, c := range map[string]struct {
		batches []kcl.Batch
		want    bool
		last    time.Duration // after begin, when the shard was last caught up; negative for never
	}{
		"no answer":                           {nil, false, -1},
		"one answer":                          {[]kcl.Batch{batch(0, 0, 0)}, false, -1},
		"one answer with records":             {[]kcl.Batch{batch(0, 5, 0)}, false, -1},
		"two answers":                         {[]kcl.Batch{first, next}, true, second},
		"two answers that are too close":      {[]kcl.Batch{batch(0, 0, 0), batch(second-1, 0, 0)}, false, -1},
		"the second answer has records":       {[]kcl.Batch{batch(0, 0, 0), batch(second, 1, 0)}, false, -1},
		"records in every answer":             {[]kcl.Batch{batch(0, 1, 0), batch(second, 1, 0)}, false, -1},
		"records, then none":                  {[]kcl.Batch{batch(0, 1, 0), batch(second, 0, 0)}, true, second},
		"the smallest lag":                    {[]kcl.Batch{batch(0, 0, 1), batch(second, 0, 1)}, false, -1},
		"lag that is not known":               {[]kcl.Batch{blind(0, 0), blind(second, 0)}, false, -1},
		"no lag after a lag":                  {[]kcl.Batch{batch(0, 0, 1), next}, false, -1},
		"known after unknown":                 {[]kcl.Batch{blind(0, 0), batch(second, 0, 0)}, false, -1},
		"records after it keep it":            {[]kcl.Batch{first, next, batch(2*second, 9, 0)}, true, second},
		"a lag ends it":                       {[]kcl.Batch{first, next, batch(2*second, 0, 1)}, false, second},
		"an unknown lag ends it":              {[]kcl.Batch{first, next, blind(2*second, 0)}, false, second},
		"a lag between contradicts the first": {[]kcl.Batch{batch(0, 0, 0), batch(1, 0, 1), batch(second, 0, 0)}, false, -1},
	} {
		var tip caughtup.Tip
		now := begin
		for _, b := range c.batches {
			tip.Read(b)
			require.False(t, tip.CaughtUp(b.ReceivedAt), "%s: a batch is being processed", name)
			tip.Processed(b)
			now = b.ReceivedAt
		}
		require.Equal(t, c.want, tip.CaughtUp(now), name)
		if c.last < 0 {
			require.Zero(t, tip.LastCaughtUp(), name)
		} else {
			require.Equal(t, begin.Add(c.last), tip.LastCaughtUp(), name)
		}
	}
}

// TestAnswersOfACaughtUpShardAge: without an answer for more than a minute, nothing is known.
func TestAnswersOfACaughtUpShardAge(t *testing.T) {
	t.Parallel()
	tip := caughtUp()
	at := tip.LastCaughtUp()
	require.True(t, tip.CaughtUp(at.Add(time.Minute)))
	require.False(t, tip.CaughtUp(at.Add(time.Minute+1)))

	b := batch(at.Add(2*time.Minute).Sub(begin), 0, 0)
	tip.Read(b)
	tip.Processed(b)
	require.True(t, tip.CaughtUp(b.ReceivedAt), "the next answer with a lag of 0")
}

// caughtUp returns the tip of a shard that is caught up since a second after begin.
func caughtUp() caughtup.Tip {
	var tip caughtup.Tip
	for _, b := range []kcl.Batch{batch(0, 0, 0), batch(time.Second, 0, 0)} {
		tip.Read(b)
		tip.Processed(b)
	}
	return tip
}

// TestRestartedReaderHasNotCaughtUp: a reader that begins again keeps only the time at which the
// shard was last caught up.
func TestRestartedReaderHasNotCaughtUp(t *testing.T) {
	t.Parallel()
	old := caughtUp()
	tip := old.Restarted()
	require.False(t, tip.CaughtUp(old.LastCaughtUp()))
	require.Equal(t, old.LastCaughtUp(), tip.LastCaughtUp())
	require.False(t, tip.LagKnown())
	_, known := tip.Behind(begin)
	require.False(t, known)

	b := batch(time.Minute, 0, 0)
	tip.Read(b)
	tip.Processed(b)
	require.False(t, tip.CaughtUp(b.ReceivedAt), "the first answer proves nothing")
}

func TestBehind(t *testing.T) {
	t.Parallel()
	const second = time.Second
	for name, c := range map[string]struct {
		processed, reading *kcl.Batch
		age                time.Duration // since the first batch came
		want               time.Duration
		known              bool
	}{
		"no batch":              {nil, nil, 0, 0, false},
		"caught up":             {ptr(batch(0, 1, 0)), nil, 0, 0, true},
		"behind":                {ptr(batch(0, 1, 7*second)), nil, 0, 7 * second, true},
		"unknown lag":           {ptr(blind(0, 1)), nil, 0, 0, false},
		"unknown lag, long ago": {ptr(blind(0, 1)), nil, time.Hour, 0, false},
		"as old as it may be":   {ptr(batch(0, 1, 7*second)), nil, 10 * second, 7 * second, true},
		"grows with age":        {ptr(batch(0, 1, 7*second)), nil, 11 * second, 18 * second, true},
		"grows from zero":       {ptr(batch(0, 1, 0)), nil, time.Hour, time.Hour, true},
		"rounded": {
			ptr(batch(0, 1, 0)), nil,
			11*second + 600*time.Microsecond, 11001 * time.Millisecond, true,
		},
		"the first is being processed":      {nil, ptr(batch(0, 1, 7*second)), 0, 7 * second, true},
		"the first is at the tip":           {nil, ptr(batch(0, 1, 0)), 0, 0, false},
		"the first has no lag":              {nil, ptr(blind(0, 1)), 0, 0, false},
		"the next one is further behind":    {ptr(batch(0, 1, 7*second)), ptr(batch(0, 1, 9*second)), 0, 9 * second, true},
		"the next one is nearer":            {ptr(batch(0, 1, 7*second)), ptr(batch(0, 1, 2*second)), 0, 7 * second, true},
		"the next one has no lag":           {ptr(batch(0, 1, 7*second)), ptr(blind(0, 1)), 0, 7 * second, true},
		"the last had no lag, this one has": {ptr(blind(0, 1)), ptr(batch(0, 1, 2*second)), 0, 2 * second, true},
	} {
		var tip caughtup.Tip
		last := kcl.Batch{LagUnknown: true}
		if b := c.processed; b != nil {
			tip.Read(*b)
			tip.Processed(*b)
			last = *b
		}
		if b := c.reading; b != nil {
			tip.Read(*b)
			last = *b
		}
		behind, known := tip.Behind(begin.Add(c.age))
		require.Equal(t, c.want, behind, name)
		require.Equal(t, c.known, known, name)
		require.Equal(t, !last.LagUnknown, tip.LagKnown(), name)
	}
}

func ptr(b kcl.Batch) *kcl.Batch { return &b }
