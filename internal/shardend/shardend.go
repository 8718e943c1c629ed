// Package shardend finds out whether a shard that seems to have ended has ended.
// Both readers, efo and polling, use it.
//
// One answer proves nothing: a server that is in trouble sends `{}`, which has no
// next iterator, over a backlog of a million records. So the service is asked
// again, from an iterator of its own, and is made to show that it still reads
// the shard: it must bring the record before the end once more.
package shardend

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/fromsdk"
)

const (
	shownIn   = 3 // answers in which the last record must have come again
	lookedFor = 6 // answers behind it; AWS sends some that are empty before it comes to the end
)

// The reasons why a reader does not believe that its shard has ended.
var (
	ErrContradicted = errors.New("the service said that the shard has ended, and sent more records when it was asked again")
	ErrUnconfirmed  = errors.New("the service said that the shard has ended, and has not confirmed it yet")
)

const (
	// IdleCheck is how long a shard is without records before its reader asks ListShards whether
	// the shard is closed. The reader asks more rarely while the shard is open, see [Rarer].
	IdleCheck = 30 * time.Second
	// DoubtCheck is the time between two questions while the end of the shard is in doubt.
	DoubtCheck = 15 * time.Second

	idleCheckMax = 10 * time.Minute
)

// Rarer doubles the time between two questions, up to 10 minutes.
func Rarer(wait time.Duration) time.Duration { return min(2*wait, idleCheckMax) }

// Asker is how a reader asks. Records waits for its turn, as the service allows
// five calls a second for a shard.
type Asker struct {
	ShardID  string
	Iterator func(ctx context.Context, at kcl.Position) (*string, error)
	Records  func(ctx context.Context, iterator *string, limit int) (*kinesis.GetRecordsOutput, error)
}

// Place is where a reader stands.
type Place struct {
	Next kcl.Position // where it goes on
	Last string       // number of the last record it has read; empty when it has read none
}

// Answer is what the service says when it is asked for what lies behind a place.
type Answer struct {
	More     bool             // a record: the shard has not ended there
	Proven   bool             // one answer brought the last record again and, at the tip, none behind it
	Last     bool             // there is no next iterator
	Tip      bool             // nothing is unread, by a MillisBehindLatest that is there
	Children []kcl.ChildShard // nil unless the answer names them
}

// Ask asks what lies behind a place. It keeps no record: a reader that learns of
// more reads it in its own way.
func (a Asker) Ask(ctx context.Context, at Place) (Answer, error) {
	if at.Last != "" {
		out, err := a.look(ctx, kcl.At(at.Last), at.Last, shownIn)
		if err != nil || out.More || out.Proven {
			return out, err
		}
	}
	return a.look(ctx, at.Next, at.Last, lookedFor)
}

// look reads a few answers from a position. It asks for two records, so that an
// honest answer that has the last one has the one behind it as well.
func (a Asker) look(ctx context.Context, from kcl.Position, last string, answers int) (out Answer, err error) {
	iterator, err := a.Iterator(ctx, from)
	if err != nil {
		return out, err
	}
	for range answers {
		page, err := a.Records(ctx, iterator, 2)
		if err != nil {
			return out, err
		}
		shown := false
		for i := range page.Records {
			number := page.Records[i].SequenceNumber
			if last == "" || !fromsdk.IsNumber(number) {
				return Answer{More: true}, nil
			}
			order := compare(*number, last)
			if order > 0 {
				return Answer{More: true}, nil
			}
			shown = shown || order == 0
		}
		tip := AtTip(page.MillisBehindLatest)
		out.Tip = out.Tip || tip
		out.Last = aws.ToString(page.NextShardIterator) == ""
		out.Proven = shown && (tip || out.Last)
		if out.Last {
			out.Children = fromsdk.Children(page.ChildShards, a.ShardID)
		}
		if out.Last || shown {
			break
		}
		iterator = page.NextShardIterator
	}
	return out, nil
}

func compare(a, b string) int {
	return kcl.ExtendedSequenceNumber{SequenceNumber: a}.Compare(kcl.ExtendedSequenceNumber{SequenceNumber: b})
}

// AtTip tells whether a MillisBehindLatest says that nothing is unread. One that
// is missing says nothing.
func AtTip(millis *int64) bool { return millis != nil && *millis <= 0 }

// How often, and for how long, the service must say what it cannot prove. Each of
// its answers can be odd, so one that shows more outweighs all that do not.
var (
	named = patience{3, 5 * time.Second}  // it names the children, though it says that something is unread
	empty = patience{5, 10 * time.Second} // no iterator, at the tip of a shard without any record that could be shown
	tip   = patience{5, time.Minute}      // at the tip, and the last record does not come again: it may be trimmed
	away  = patience{10, 10 * time.Minute}
)

// patience is how many answers it takes, and how long.
type patience struct {
	answers int
	time    time.Duration
}

// Judge decides from the answers for one place, of which the shard list says that
// it may be the end: the shard is closed and has children. The zero value has
// heard nothing yet.
type Judge struct {
	last    string
	since   time.Time
	answers int
	away    bool // one of them was not at the tip
	goesOn  bool // one of them had an iterator
	unnamed bool // one of them named no children
}

// Ended takes in an answer, which came after one that made the reader ask. It
// tells whether the shard has ended.
func (j *Judge) Ended(now time.Time, at Place, a Answer) bool {
	if a.More {
		j.Forget()
		return false
	}
	if at.Last != j.last || j.answers == 0 {
		*j = Judge{last: at.Last, since: now}
	}
	j.answers++
	j.away, j.goesOn, j.unnamed = j.away || !a.Tip, j.goesOn || !a.Last, j.unnamed || a.Children == nil
	over := func(p patience) bool { return j.answers >= p.answers && now.Sub(j.since) >= p.time }
	switch {
	case a.Proven, a.Last && a.Tip && a.Children != nil:
		return true
	case !j.unnamed && over(named), !j.away && !j.goesOn && at.Last == "" && over(empty), !j.away && over(tip):
		return true
	}
	return !j.goesOn && over(away)
}

// Confirm is [Judge.Ended] with a reason: it returns nil when the shard has ended, and otherwise
// [ErrContradicted] or [ErrUnconfirmed].
func (j *Judge) Confirm(now time.Time, at Place, a Answer) error {
	switch {
	case j.Ended(now, at, a):
		return nil
	case a.More:
		return ErrContradicted
	}
	return ErrUnconfirmed
}

// Doubts tells whether an end has been told that is not believed yet: then it is
// worth asking again soon.
func (j *Judge) Doubts() bool { return j.answers > 0 }

// Forget says that the shard has been read on.
func (j *Judge) Forget() { *j = Judge{} }
