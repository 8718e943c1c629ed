package shardend_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardend"
)

// page is an answer of GetRecords with an iterator, at the tip, with records of these numbers.
func page(numbers ...string) *kinesis.GetRecordsOutput {
	out := &kinesis.GetRecordsOutput{NextShardIterator: aws.String("next"), MillisBehindLatest: aws.Int64(0)}
	for _, n := range numbers {
		out.Records = append(out.Records, types.Record{SequenceNumber: aws.String(n)})
	}
	return out
}

// behind takes an answer away from the tip.
func behind(out *kinesis.GetRecordsOutput) *kinesis.GetRecordsOutput {
	out.MillisBehindLatest = aws.Int64(1)
	return out
}

// ending takes the iterator away from an answer, and names children with this parent.
func ending(out *kinesis.GetRecordsOutput, parents ...string) *kinesis.GetRecordsOutput {
	out.NextShardIterator = nil
	for _, p := range parents {
		out.ChildShards = append(out.ChildShards,
			types.ChildShard{ShardId: aws.String("shardId-000000000001"), ParentShards: []string{p}})
	}
	return out
}

// pages repeats an answer.
func pages(n int, out *kinesis.GetRecordsOutput) (all []*kinesis.GetRecordsOutput) {
	for range n {
		all = append(all, out)
	}
	return all
}

// TestAsk: the service's answers from the last record on, and then, if those say too little, from
// where reading goes on.
func TestAsk(t *testing.T) {
	t.Parallel()
	type answers = []*kinesis.GetRecordsOutput
	empty := &kinesis.GetRecordsOutput{}
	for name, c := range map[string]struct {
		at       shardend.Place
		last     answers // from the last record on
		next     answers // from where reading goes on
		want     shardend.Answer
		leftOver int // answers that are not read
	}{
		"the last record comes alone": {
			at: read, last: answers{page("7")}, want: shardend.Answer{Proven: true, Tip: true},
		},
		"the last record, and one after it": {
			at: read, last: answers{page("7", "8")}, want: shardend.Answer{More: true},
		},
		"one after it instead of the last record": {
			at: read, last: answers{page("8")}, want: shardend.Answer{More: true},
		},
		"numbers are compared as numbers": {
			at: read, last: answers{page("10")}, want: shardend.Answer{More: true},
		},
		"an older record does not count": {
			at: read, last: answers{page("6"), page("7")}, want: shardend.Answer{Proven: true, Tip: true},
		},
		"the last record, and an older one after it": {
			at: read, last: answers{page("7", "6")}, want: shardend.Answer{Proven: true, Tip: true},
		},
		"the last record without an iterator, away from the tip": {
			at: read, last: answers{ending(behind(page("7")), parent)},
			want: shardend.Answer{Proven: true, Last: true, Children: children},
		},
		"the last record with an iterator, away from the tip": {
			at: read, last: answers{behind(page("7"))}, next: answers{ending(page())},
			want: shardend.Answer{Last: true, Tip: true},
		},
		"the last record after two empty answers": {
			at: read, last: answers{behind(page()), behind(page()), page("7")},
			want: shardend.Answer{Proven: true, Tip: true},
		},
		"the last record comes too late": {
			at: read, last: append(pages(3, behind(page())), page("7")), next: answers{ending(page(), parent)},
			want: shardend.Answer{Last: true, Tip: true, Children: children}, leftOver: 1,
		},
		"empty answers before the end": {
			at: unread, next: append(pages(5, behind(page())), ending(page(), parent)),
			want: shardend.Answer{Last: true, Tip: true, Children: children},
		},
		"too many empty answers": {
			at: unread, next: append(pages(6, behind(page())), ending(page(), parent)),
			want: shardend.Answer{}, leftOver: 1,
		},
		"an answer at the tip counts later": {
			at: unread, next: answers{page(), ending(behind(page()))},
			want: shardend.Answer{Last: true, Tip: true},
		},
		"an empty object says nothing of the tip": {
			at: unread, next: answers{empty}, want: shardend.Answer{Last: true},
		},
		"an empty iterator is none": {
			at: unread, next: answers{{NextShardIterator: aws.String(""), MillisBehindLatest: aws.Int64(0)}},
			want: shardend.Answer{Last: true, Tip: true},
		},
		"children of another shard": {
			at: unread, next: answers{ending(page(), "shardId-000000000009")},
			want: shardend.Answer{Last: true, Tip: true},
		},
		"any record, when none was read": {
			at: unread, next: answers{ending(page("1"), parent)}, want: shardend.Answer{More: true},
		},
		"a record without a proper number": {
			at: read, last: answers{page("TRIM_HORIZON")}, want: shardend.Answer{More: true},
		},
		"a record from where reading goes on": {
			at: read, last: answers{ending(page())}, next: answers{page("8")}, want: shardend.Answer{More: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := service{c.last, c.next}
			got, err := shardend.Asker{ShardID: parent, Iterator: srv.iterator, Records: srv.records}.Ask(t.Context(), c.at)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			require.Len(t, append(srv.last, srv.next...), c.leftOver)
		})
	}
}

// service gives the answers of a test case. Each answer has the same iterator as the one before.
type service struct{ last, next []*kinesis.GetRecordsOutput }

func (s *service) iterator(_ context.Context, at kcl.Position) (*string, error) {
	if at == kcl.At(read.Last) {
		return aws.String("last"), nil
	}
	return aws.String("next"), nil
}

func (s *service) records(_ context.Context, iterator *string, limit int) (*kinesis.GetRecordsOutput, error) {
	left := &s.next
	if *iterator == "last" {
		left = &s.last
	}
	if len(*left) == 0 || limit != 2 {
		return nil, fmt.Errorf("asked for %d records of %s, which is not needed", limit, *iterator)
	}
	out := *(*left)[0]
	*left = (*left)[1:]
	if aws.ToString(out.NextShardIterator) != "" {
		out.NextShardIterator = iterator
	}
	return &out, nil
}

// TestAskFails: an error of either call is returned.
func TestAskFails(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, fails := range map[string]struct{ iterator, records error }{
		"iterator": {boom, nil},
		"records":  {nil, boom},
	} {
		_, err := shardend.Asker{
			Iterator: func(context.Context, kcl.Position) (*string, error) { return aws.String("i"), fails.iterator },
			Records: func(context.Context, *string, int) (*kinesis.GetRecordsOutput, error) {
				return page(), fails.records
			},
		}.Ask(t.Context(), read)
		require.ErrorIs(t, err, boom, name)
	}
}
