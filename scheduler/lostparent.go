package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/shardsync"
)

const (
	probeEvery = time.Second // between two calls of GetRecords for a shard without a row
	probeAgain = time.Minute // after a record was met, or a call was refused: it may have expired by then
)

// probe finds out whether a shard without a row has anything to be read, from its
// oldest record to its end. It belongs to the consumer of a child that waits.
type probe struct {
	iterator *string
	next     time.Time // when the service may be asked again
	ends     int       // in a row that were come to without a record
	empty    bool      // it has nothing: final, as the shard is closed
}

// look makes one step. An end that names no children is believed the second time:
// the shard is known to be closed.
func (p *probe) look(ctx context.Context, client *kinesis.Client, st kcl.StreamIdentifier, shardID string) bool {
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

// parentLost is what is wrong with a parent that is listed and has no row, nor gets
// one: the row was deleted, or the shard was missed when the first rows were made.
// Whether its records were read nobody knows.
func (c *consumer) parentLost(shardID string) error {
	return fmt.Errorf("row of parent lost: %[1]s has no row in the lease table, and it is not known how far it was read: "+
		"say so, `kclctl leases restore -finished %[1]s` or `kclctl leases restore -at POSITION %[1]s`, then this shard goes on",
		shardsync.Key(c.stream.id, shardID, c.stream.multi))
}

// lost takes in that parents have no row, or nil. Its holder, or an ancestor's end,
// may be about to make it, so it is told only a while later.
func (c *consumer) lost(err error) {
	if err == nil {
		c.orphaned = streak{}
	} else {
		c.orphaned.failed(err)
	}
	told := c.orphaned
	if time.Since(told.since) < c.s.seenRows.holderTime {
		told = streak{}
	}
	c.progress.parentLost(told)
}

// parentLost says that the shard waits for a parent that nobody will finish; the
// zero value, that it does not.
func (p *progress) parentLost(lost streak) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = lost
}
