// Package fromsdk turns records, shards, children and lags of the AWS SDK into types of package
// kcl. The readers efo and polling use it, and so do the scheduler and kclctl.
package fromsdk

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
)

// Records turns the SDK's records into ours, in one slice for the whole batch. Both share their
// memory. payload counts the bytes of the data. total counts the partition keys too, as the read
// limit of the service does.
func Records(in []types.Record) (records []kcl.Record, payload, total int, err error) {
	if len(in) == 0 {
		return nil, 0, 0, nil
	}
	records = make([]kcl.Record, len(in))
	for i := range in {
		r := &in[i]
		if !IsNumber(r.SequenceNumber) {
			return nil, 0, 0, fmt.Errorf(
				"the service sent a record without a sequence number: %.150q",
				aws.ToString(r.SequenceNumber),
			)
		}
		records[i] = kcl.NewRecord(kcl.RecordFields{
			SequenceNumber:     *r.SequenceNumber,
			PartitionKey:       r.PartitionKey,
			Data:               r.Data,
			ApproximateArrival: aws.ToTime(r.ApproximateArrivalTimestamp),
			EncryptionType:     kcl.EncryptionType(r.EncryptionType),
		})
		payload += len(r.Data)
		total += len(r.Data) + len(aws.ToString(r.PartitionKey))
	}
	return records, payload, total, nil
}

// Batch makes a batch of records that have arrived now. Reading goes on after the last record, and
// at next when there is none. millis is the MillisBehindLatest of the answer.
func Batch(records []kcl.Record, next kcl.Position, millis *int64) kcl.Batch {
	b := kcl.Batch{Records: records, Next: next, ReceivedAt: time.Now()}
	if len(records) > 0 {
		b.Next = kcl.After(records[len(records)-1].SequenceNumber())
	}
	SetLag(&b, millis)
	return b
}

// IsNumber tells whether the service sent a sequence number from which reading can go on. AWS sends
// no leading zeros; other servers may.
func IsNumber(s *string) bool {
	if s == nil || *s == "" || len(*s) > 129 {
		return false
	}
	for _, c := range []byte(*s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// Shard returns the shard. Fields that the SDK's shard lacks are empty.
func Shard(in types.Shard) kcl.Shard {
	out := kcl.Shard{
		ID:               aws.ToString(in.ShardId),
		ParentID:         aws.ToString(in.ParentShardId),
		AdjacentParentID: aws.ToString(in.AdjacentParentShardId),
	}
	if r := in.HashKeyRange; r != nil {
		out.HashKeyRange = kcl.HashKeyRange{Start: aws.ToString(r.StartingHashKey), End: aws.ToString(r.EndingHashKey)}
	}
	if r := in.SequenceNumberRange; r != nil {
		out.StartingSequenceNumber = aws.ToString(r.StartingSequenceNumber)
		out.EndingSequenceNumber = aws.ToString(r.EndingSequenceNumber)
	}
	return out
}

// Children returns the children of a shard, as its end names them. It returns nil if a child has no
// id or does not name the shard as a parent: then the caller asks ListShards.
func Children(in []types.ChildShard, parent string) []kcl.ChildShard {
	var children []kcl.ChildShard
	for _, c := range in {
		if aws.ToString(c.ShardId) == "" || !slices.Contains(c.ParentShards, parent) {
			return nil
		}
		child := kcl.ChildShard{ID: *c.ShardId, Parents: c.ParentShards}
		if r := c.HashKeyRange; r != nil {
			child.HashKeyRange = kcl.HashKeyRange{Start: aws.ToString(r.StartingHashKey), End: aws.ToString(r.EndingHashKey)}
		}
		children = append(children, child)
	}
	return children
}

// SetLag sets the lag of a batch from MillisBehindLatest. The lag is unknown if that is missing or
// negative.
func SetLag(b *kcl.Batch, millis *int64) {
	if millis == nil || *millis < 0 {
		b.BehindLatest, b.LagUnknown = 0, true
		return
	}
	b.BehindLatest, b.LagUnknown = time.Duration(min(*millis, maxLag.Milliseconds()))*time.Millisecond, false
}

// maxLag is more than the year for which a stream can keep its records.
const maxLag = 10 * 366 * 24 * time.Hour
