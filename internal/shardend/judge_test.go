package shardend_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardend"
)

var (
	begin    = time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	children = []kcl.ChildShard{{ID: "shardId-000000000001", Parents: []string{parent}}}

	read   = shardend.Place{Next: kcl.After("7"), Last: "7"} // the reader has read record 7
	unread = shardend.Place{Next: kcl.Position{}}            // the reader has read no record
)

const parent = "shardId-000000000000"

// TestEnded repeats one answer, and says when it counts as the end of the shard: after how many
// answers, and after what time if so many come sooner.
func TestEnded(t *testing.T) {
	t.Parallel()
	const never = 1000
	for name, c := range map[string]struct {
		at      shardend.Place
		answer  shardend.Answer
		answers int
		time    time.Duration
	}{
		"the last record came again":            {read, shardend.Answer{Proven: true}, 1, 0},
		"no iterator, children, at the tip":     {read, shardend.Answer{Last: true, Tip: true, Children: children}, 1, 0},
		"no iterator, children, not at the tip": {read, shardend.Answer{Last: true, Children: children}, 3, 5 * time.Second},
		"no iterator, at the tip":               {read, shardend.Answer{Last: true, Tip: true}, 5, time.Minute},
		"the same, and no record was read":      {unread, shardend.Answer{Last: true, Tip: true}, 5, 10 * time.Second},
		"an iterator, at the tip":               {read, shardend.Answer{Tip: true}, 5, time.Minute},
		"the same, without a record read":       {unread, shardend.Answer{Tip: true}, 5, time.Minute},
		"no iterator, not at the tip":           {read, shardend.Answer{Last: true}, 10, 10 * time.Minute},
		"an iterator, not at the tip":           {read, shardend.Answer{}, never, 0},
		"there is a record":                     {read, shardend.Answer{More: true}, never, 0},
		"a record outweighs a proof": {
			read, shardend.Answer{More: true, Proven: true, Last: true, Tip: true, Children: children}, never, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var rare shardend.Judge // an answer comes every hour
			for n := 1; n < c.answers; n++ {
				require.False(t, rare.Ended(begin.Add(time.Duration(n)*time.Hour), c.at, c.answer), n)
			}
			require.Equal(t, c.answers < never, rare.Ended(begin.Add(never*time.Hour), c.at, c.answer))
			if c.answers == 1 || c.answers == never {
				return
			}
			var just shardend.Judge // the last of the answers comes just in time
			for range c.answers - 1 {
				require.False(t, just.Ended(begin, c.at, c.answer))
			}
			require.True(t, just.Ended(begin.Add(c.time), c.at, c.answer))
			var soon shardend.Judge // many answers come too soon
			for range 100 {
				require.False(t, soon.Ended(begin, c.at, c.answer))
			}
			require.False(t, soon.Ended(begin.Add(c.time-1), c.at, c.answer))
		})
	}
}

// TestContradictions: one answer of another kind among many. The judge then knows less, or nothing.
func TestContradictions(t *testing.T) {
	t.Parallel()
	const tip, said = time.Minute, 10 * time.Minute
	silent := shardend.Answer{Last: true, Tip: true} // would be the end of an unread shard after ten seconds
	named := shardend.Answer{Last: true, Children: children}
	for name, c := range map[string]struct {
		at    shardend.Place
		first shardend.Answer
		rest  shardend.Answer
		after time.Duration // the shard has ended then; 0 for never
	}{
		"once with an iterator":            {unread, shardend.Answer{Tip: true}, silent, tip},
		"once not at the tip":              {unread, shardend.Answer{Last: true}, silent, said},
		"once with both":                   {unread, shardend.Answer{}, silent, 0},
		"once without children":            {read, shardend.Answer{Last: true}, named, said},
		"once with children only":          {read, named, shardend.Answer{Last: true}, said},
		"once children with the iterator":  {read, shardend.Answer{Children: children}, named, 5 * time.Second},
		"once proven to have more records": {read, shardend.Answer{More: true}, named, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var j shardend.Judge
			require.False(t, j.Ended(begin, c.at, c.first))
			for range 100 {
				require.False(t, j.Ended(begin, c.at, c.rest))
			}
			if c.after == 0 {
				require.False(t, j.Ended(begin.Add(24*time.Hour), c.at, c.rest))
				return
			}
			require.False(t, j.Ended(begin.Add(c.after-1), c.at, c.rest))
			require.True(t, j.Ended(begin.Add(c.after), c.at, c.rest))
		})
	}
}

// TestAnswersForAnotherPlace: the judge begins again when the reader has read a record.
func TestAnswersForAnotherPlace(t *testing.T) {
	t.Parallel()
	answer := shardend.Answer{Last: true, Children: children}
	var j shardend.Judge
	for range 2 {
		require.False(t, j.Ended(begin, read, answer))
	}
	further := shardend.Place{Next: kcl.After("8"), Last: "8"}
	later := begin.Add(time.Hour)
	require.False(t, j.Ended(later, further, answer), "the first answer for this place")
	require.False(t, j.Ended(later.Add(time.Hour), further, answer))
	require.True(t, j.Ended(later.Add(time.Hour), further, answer))
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer shardend.Answer
		want   error
		doubts bool
	}{
		"proven":            {shardend.Answer{Proven: true}, nil, true},
		"not confirmed":     {shardend.Answer{Last: true, Tip: true}, shardend.ErrUnconfirmed, true},
		"nothing is known":  {shardend.Answer{}, shardend.ErrUnconfirmed, true},
		"there is a record": {shardend.Answer{More: true}, shardend.ErrContradicted, false},
	} {
		var j shardend.Judge
		require.False(t, j.Doubts(), name)
		require.Equal(t, c.want, j.Confirm(begin, read, c.answer), name)
		require.Equal(t, c.doubts, j.Doubts(), name)
		j.Forget()
		require.False(t, j.Doubts(), name)
	}
}

func TestAtTip(t *testing.T) {
	t.Parallel()
	require.False(t, shardend.AtTip(nil), "unknown")
	for millis, want := range map[int64]bool{-1: true, 0: true, 1: false, 5000: false} {
		require.Equal(t, want, shardend.AtTip(aws.Int64(millis)), millis)
	}
}

func TestRarer(t *testing.T) {
	t.Parallel()
	var waits []time.Duration
	for wait := shardend.IdleCheck; len(waits) < 7; wait = shardend.Rarer(wait) {
		waits = append(waits, wait)
	}
	const m = time.Minute
	require.Equal(t, []time.Duration{30 * time.Second, m, 2 * m, 4 * m, 8 * m, 10 * m, 10 * m}, waits)
}
