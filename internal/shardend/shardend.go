// Package shardend finds out whether a shard has ended after an answer that says so. Both readers,
// efo and polling, use it.
//
// One answer proves nothing. A failing server sends `{}`, which has no next iterator, although a
// million records are unread. So the reader asks again, from another iterator. The service must
// show that it still reads the shard: it must send the last record once more.
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
	// lastAnswers is the largest number of answers that are read until the last record comes again.
	lastAnswers = 3
	// nextAnswers is the largest number of answers that are read after the last record. AWS sends some
	// empty answers before the end of a shard.
	nextAnswers = 6
)

// The reasons why a reader does not accept an end of its shard.
var (
	ErrContradicted = errors.New("the service said that the shard has ended, and sent more records afterwards")
	ErrUnconfirmed  = errors.New("the service said that the shard has ended, and has not confirmed it yet")
)

const (
	// IdleCheck is the time without records after which a reader asks ListShards whether the shard is
	// closed. While the shard is open, the reader asks more rarely, see [Rarer].
	IdleCheck = 30 * time.Second
	// DoubtCheck is the time between two checks of an end that the service has not confirmed.
	DoubtCheck = 15 * time.Second

	idleCheckMax = 10 * time.Minute
)

// Rarer doubles the time between two checks, up to 10 minutes.
func Rarer(wait time.Duration) time.Duration { return min(2*wait, idleCheckMax) }

// Asker has the calls of a reader. Records waits before the call as long as the reader's pace
// needs, because the service allows five calls a second for a shard.
type Asker struct {
	ShardID  string
	Iterator func(ctx context.Context, at kcl.Position) (*string, error)
	Records  func(ctx context.Context, iterator *string, limit int) (*kinesis.GetRecordsOutput, error)
}

// Place is the place in a shard up to which a reader has read.
type Place struct {
	Next kcl.Position // where reading goes on
	Last string       // sequence number of the last record that was read; empty without one
}

// Answer is the service's answer about the records after a place.
type Answer struct {
	More     bool             // there is a record, so the shard has not ended
	Proven   bool             // an answer at the tip, or without an iterator, ended with the last record
	Last     bool             // the last answer had no next iterator
	Tip      bool             // an answer had a MillisBehindLatest of 0
	Children []kcl.ChildShard // the children in the last answer; nil without any
}

// Ask asks for the records after a place. It returns no record: the reader reads on by itself.
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
		lastSeen := false // the last record came again
		for i := range page.Records {
			number := page.Records[i].SequenceNumber
			if last == "" || !fromsdk.IsNumber(number) {
				return Answer{More: true}, nil
			}
			order := compare(*number, last)
			if order > 0 {
				return Answer{More: true}, nil
			}
			lastSeen = lastSeen || order == 0
		}
		tip := AtTip(page.MillisBehindLatest)
		out.Tip = out.Tip || tip
		out.Last = aws.ToString(page.NextShardIterator) == ""
		out.Proven = lastSeen && (tip || out.Last)
		if out.Last {
			out.Children = fromsdk.Children(page.ChildShards, a.ShardID)
		}
		if out.Last || lastSeen {
			break
		}
		iterator = page.NextShardIterator
	}
	return out, nil
}

func compare(a, b string) int {
	return kcl.ExtendedSequenceNumber{SequenceNumber: a}.Compare(kcl.ExtendedSequenceNumber{SequenceNumber: b})
}

// AtTip tells whether MillisBehindLatest says that no record is unread. It returns false for nil.
func AtTip(millis *int64) bool { return millis != nil && *millis <= 0 }

// Without a proof, the service must repeat that the shard has ended. Any answer can be wrong, so
// one answer with a record outweighs all answers without records.
var (
	withChildren = repetition{3, 5 * time.Second}   // the answers name the children, away from the tip
	neverRead    = repetition{5, 10 * time.Second}  // at the tip without an iterator; no record was ever read
	lastMissing  = repetition{5, time.Minute}       // at the tip, without the last record, which may be trimmed
	behindTip    = repetition{10, 10 * time.Minute} // the answers have no iterator, and are not at the tip
)

// repetition is how often and for how long the service must repeat that a shard has ended.
type repetition struct {
	answers int
	time    time.Duration
}

// Judge decides from several answers whether a shard has ended. All answers are for one place. The
// shard list must say that the shard is closed and has children. The zero value has no answers.
type Judge struct {
	last        string
	since       time.Time
	answers     int
	notAtTip    bool // an answer was not at the tip
	hasIterator bool // an answer had an iterator
	noChildren  bool // an answer named no children
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
	j.notAtTip, j.hasIterator = j.notAtTip || !a.Tip, j.hasIterator || !a.Last
	j.noChildren = j.noChildren || a.Children == nil
	enough := func(r repetition) bool { return j.answers >= r.answers && now.Sub(j.since) >= r.time }
	switch {
	case a.Proven, a.Last && a.Tip && a.Children != nil:
		return true
	case !j.noChildren && enough(withChildren), !j.notAtTip && enough(lastMissing):
		return true
	case !j.notAtTip && !j.hasIterator && at.Last == "" && enough(neverRead):
		return true
	}
	return !j.hasIterator && enough(behindTip)
}

// Confirm counts an answer as [Judge.Ended] does. It returns nil if the shard has ended, and else
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

// Doubts tells whether the service has said that the shard has ended, and has not confirmed it.
// Then the reader asks again soon.
func (j *Judge) Doubts() bool { return j.answers > 0 }

// Forget drops the answers. The reader calls it after it has read more records.
func (j *Judge) Forget() { *j = Judge{} }
