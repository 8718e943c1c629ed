package scheduler

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
)

const (
	probeEvery = time.Second // between two calls of GetRecords for a shard without a row
	probeAgain = time.Minute // after a record or a refused call: the record may expire meanwhile
)

// probe finds out whether a closed shard without a row has any record. It belongs to the
// consumer of a child that waits.
type probe struct {
	iterator *string
	next     time.Time // when the service may be called again
	ends     int       // passes that reached the end without a record, in a row
	empty    bool      // the shard has no record; final, as it is closed
}

// step makes at most one call, and tells whether the shard is empty. An end that names no
// children is believed the second time: the shard is known to be closed.
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
	out, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{StreamARN: &st.ARN, ShardIterator: p.iterator, Limit: aws.Int32(1)})
	switch {
	case awserr.Is(err, "ExpiredIteratorException"):
		p.iterator, p.ends = nil, 0
	case err != nil:
		p.next = time.Now().Add(probeAgain / 10)
	case len(out.Records) > 0:
		p.iterator, p.ends, p.next = nil, 0, time.Now().Add(probeAgain)
	case out.NextShardIterator != nil:
		p.iterator = out.NextShardIterator
	default:
		p.iterator = nil
		if p.ends++; p.ends > 1 || len(out.ChildShards) > 0 {
			p.empty = true
		}
	}
	return p.empty
}

// setParentLost records that the shard waits for a parent that nobody will finish. The
// zero value says that it does not.
func (p *progress) setParentLost(lost streak) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = lost
}
