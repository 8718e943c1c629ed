package scheduler

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/fromsdk"
	"github.com/kinesis-go/kcl/internal/shardend"
)

const (
	probeEvery = time.Second // the wait between two calls of GetRecords for a shard without a row
	probeAgain = time.Minute // the wait after a record, which may expire meanwhile, or after a refused call
)

// probe finds out whether a closed shard without a row has any record. It belongs to the consumer
// of a waiting child.
type probe struct {
	iterator *string
	next     time.Time // when the service may be called again
	ended    bool      // the last pass reached the end of the shard without a record
	end      shardend.Judge
	empty    bool // the shard has no record; never reset, because a closed shard gets no records
}

// step makes at most one call of each kind, and tells whether the shard is empty. One pass over the
// shard without a record proves nothing. A second pass must confirm it, as package shardend
// requires for each end of a shard.
func (p *probe) step(ctx context.Context, client *kinesis.Client, st kcl.StreamIdentifier, shardID string) bool {
	if p.empty || time.Now().Before(p.next) {
		return p.empty
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p.next = time.Now().Add(probeEvery)
	if p.iterator == nil {
		out, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
			StreamName: &st.Name, StreamARN: &st.ARN, ShardId: &shardID, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
		})
		if err != nil || out.ShardIterator == nil {
			p.next = time.Now().Add(probeAgain)
			return false
		}
		p.iterator = out.ShardIterator
	}
	out, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{
		StreamARN: &st.ARN, ShardIterator: p.iterator, Limit: aws.Int32(1),
	})
	switch {
	case awserr.Is(err, "ExpiredIteratorException"):
		p.iterator = nil
	case err != nil:
		p.next = time.Now().Add(probeAgain / 10)
	case len(out.Records) > 0:
		p.iterator, p.ended, p.next = nil, false, time.Now().Add(probeAgain)
		p.end.Forget()
	case aws.ToString(out.NextShardIterator) != "":
		p.iterator = out.NextShardIterator
	case !p.ended:
		p.iterator, p.ended = nil, true
	default:
		p.iterator = nil
		p.empty = p.end.Ended(time.Now(), shardend.Place{}, shardend.Answer{
			Last: true, Tip: shardend.AtTip(out.MillisBehindLatest), Children: fromsdk.Children(out.ChildShards, shardID),
		})
	}
	return p.empty
}

// setParentLost records that the shard waits for a parent that no worker will finish. A zero streak
// means that the shard does not.
func (p *progress) setParentLost(lost streak) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = lost
}
