// Package shardend finds out whether a shard that seems to have ended has ended. Both readers, efo
// and polling, use it.
//
// One answer proves nothing. A server in trouble sends `{}`, which has no next iterator, although a
// million records are unread. So the reader asks again, from another iterator. The service must
// show that it still reads the shard: it must send the record before the end once more.
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
	// lastAnswers is how many answers are read for the last record to come again.
	lastAnswers = 3
	// nextAnswers is how many answers are read behind the last record. AWS sends some empty answers
	// before the end of a shard.
	nextAnswers = 6
)

// The reasons why a reader does not believe that its shard has ended.
var (
	ErrContradicted = errors.New("the service said that the shard has ended, and sent more records afterwards")
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

// Asker holds the calls of a reader. Records waits for its turn, because the service allows five
// calls a second for a shard.
type Asker struct {
	ShardID  string
	Iterator func(ctx context.Context, at kcl.Position) (*string, error)
	Records  func(ctx context.Context, iterator *string, limit int) (*kinesis.GetRecordsOutput, error)
}

// Place is how far a reader has read.
type Place struct {
	Next kcl.Position // where reading goes on
	Last string       // number of the last record read; empty when there was none
}

// Answer is what the service says about the records after a place.
type Answer struct {
	More     bool             // there is a record: the shard has not ended there
	Proven   bool             // one answer had the last record and, at the tip, none after it
	Last     bool             // the last answer had no next iterator
	Tip      bool             // an answer had a MillisBehindLatest of 0
	Children []kcl.ChildShard // as the last answer named them; nil if it did not
}

// Ask asks for the records after a place. It returns no record: the reader itself reads more.
func (a Asker) Ask(ctx context.Context, at Place) (Answer, error) {
	if at.Last != "" {
		out, err := a.read(ctx, kcl.At(at.Last), at.Last, lastAnswers)
		if err != nil || out.More || out.Proven {
			return out, err
		}
	}
	return a.read(ctx, at.Next, at.Last, nextAnswers)
}

// read reads a few answers from a position. It asks for two records: a correct answer with the last
// record also has the record after it.
func (a Asker) read(ctx context.Context, from kcl.Position, last string, answers int) (out Answer, err error) {
	iterator, err := a.Iterator(ctx, from)
	if err != nil {
		return out, err
	}
	for range answers {
		page, err := a.Records(ctx, iterator, 2)
		if err != nil {
			return out, err
		}
		again := false // the last record came again
		for i := range page.Records {
			number := page.Records[i].SequenceNumber
			if last == "" || !fromsdk.IsNumber(number) {
				return Answer{More: true}, nil
			}
			order := compare(*number, last)
			if order > 0 {
				return Answer{More: true}, nil
			}
			again = again || order == 0
		}
		tip := AtTip(page.MillisBehindLatest)
		out.Tip = out.Tip || tip
		out.Last = aws.ToString(page.NextShardIterator) == ""
		out.Proven = again && (tip || out.Last)
		if out.Last {
			out.Children = fromsdk.Children(page.ChildShards, a.ShardID)
		}
		if out.Last || again {
			break
		}
		iterator = page.NextShardIterator
	}
	return out, nil
}

func compare(a, b string) int {
	return kcl.ExtendedSequenceNumber{SequenceNumber: a}.Compare(kcl.ExtendedSequenceNumber{SequenceNumber: b})
}

// AtTip tells whether MillisBehindLatest says that nothing is unread. A missing one says nothing.
func AtTip(millis *int64) bool { return millis != nil && *millis <= 0 }

// Without a proof, the service must repeat an end. Any of its answers can be wrong, so one answer
// with more records outweighs all without.
var (
	named = patience{3, 5 * time.Second}   // the answers name the children, but records are unread
	empty = patience{5, 10 * time.Second}  // the answers have no iterator; the shard never had a record
	tip   = patience{5, time.Minute}       // at the tip, without the last record: it may be trimmed
	away  = patience{10, 10 * time.Minute} // the answers have no iterator, and records are unread
)

// patience is how often and for how long the service must say that a shard has ended.
type patience struct {
	answers int
	time    time.Duration
}

// Judge decides from several answers whether a shard has ended. The answers are for one place, and
// the shard list says that the shard is closed and has children. The zero value has no answers.
type Judge struct {
	last    string
	since   time.Time
	answers int
	away    bool // an answer was not at the tip
	goesOn  bool // an answer had an iterator
	unnamed bool // an answer named no children
}

// Ended counts one more answer and tells whether the shard has ended (I13).
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
	enough := func(p patience) bool { return j.answers >= p.answers && now.Sub(j.since) >= p.time }
	switch {
	case a.Proven, a.Last && a.Tip && a.Children != nil:
		return true
	case !j.unnamed && enough(named), !j.away && enough(tip):
		return true
	case !j.away && !j.goesOn && at.Last == "" && enough(empty):
		return true
	}
	return !j.goesOn && enough(away)
}

// Confirm is [Judge.Ended] with a reason. It returns nil when the shard has ended, and otherwise
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

// Doubts tells whether the service has said that the shard ended, and the judge does not believe it
// yet. Then the reader asks again soon.
func (j *Judge) Doubts() bool { return j.answers > 0 }

// Forget drops the answers, because the reader has read more records.
func (j *Judge) Forget() { *j = Judge{} }
