package kinesistest

import (
	"time"
)

// GetRecords returns up to 10,000 records and 10 MiB from the place of the iterator, and the next
// iterator.
//
// MillisBehindLatest is the age of the oldest record that is not yet read, 0 at the tip. At the end
// of a closed shard the answer has no NextShardIterator and names the children. A shard takes five
// calls per second and gives 2 MiB per second to all readers together. So after an answer of 10
// MiB, calls fail with ProvisionedThroughputExceededException for some seconds. A Limit above
// 10,000 is InvalidArgumentException.

var readOperations = []operation{
	define("GetShardIterator", getShardIterator),
	define("GetRecords", getRecords),
}

type getRecordsInput struct {
	ShardIterator string `json:"ShardIterator"`
	Limit         *int32 `json:"Limit"`
	StreamARN     string `json:"StreamARN"`
	DryRun        bool   `json:"DryRun"`
}

func (in *getRecordsInput) resource() resource {
	it, _ := parseIterator(in.ShardIterator)
	return resource{stream: it.stream, shard: it.shard}
}

type getRecordsOutput struct {
	Records            []record     `json:"Records"`
	NextShardIterator  *string      `json:"NextShardIterator,omitempty"`
	MillisBehindLatest int64        `json:"MillisBehindLatest"`
	ChildShards        []childShard `json:"ChildShards,omitempty"`
}

// faulty returns the answer with the changes of the faults.
func (o getRecordsOutput) faulty(token string, v verdict) any {
	switch {
	case v.falseEnd != nil && *v.falseEnd < 0:
		return struct{}{}
	case v.falseEnd != nil:
		return getRecordsOutput{Records: []record{}, MillisBehindLatest: v.falseEnd.Milliseconds()}
	case v.hidesEnd && o.NextShardIterator == nil:
		it, _ := parseIterator(token)
		next := it.renewed(time.Now(), len(o.Records))
		o.NextShardIterator, o.ChildShards = &next, nil
	}
	return o
}

func getRecords(b *backend, now time.Time, in *getRecordsInput) (any, error) {
	limit := maxGetRecords
	switch {
	case in.ShardIterator == "":
		return nil, missing("shardIterator")
	case in.Limit == nil:
	case *in.Limit < 1:
		return nil, constraint(*in.Limit, "limit", "Member must have value greater than or equal to 1")
	case *in.Limit > maxGetRecords:
		return nil, invalid("Limit %d is greater than the maximum of %d.", *in.Limit, maxGetRecords)
	default:
		limit = int(*in.Limit)
	}
	it, ok := parseIterator(in.ShardIterator)
	if !ok {
		return nil, invalid("Invalid ShardIterator.")
	}
	if now.Sub(it.issued) > iteratorLife {
		const layout = "Mon Jan 02 15:04:05 MST 2006"
		return nil, errf(codeExpiredIterator,
			"Iterator expired. The iterator was created at time %s while right now it is %s which is further in the future "+
				"than the tolerated delay of %d milliseconds.",
			it.issued.UTC().Format(layout), now.UTC().Format(layout), iteratorLife.Milliseconds())
	}
	ref := streamRef{StreamName: it.stream, StreamARN: in.StreamARN}
	st, err := b.findUsableLocked(ref)
	if err != nil {
		return nil, err
	}
	if st.created.Unix() != it.created {
		return nil, b.noStream(st.name)
	}
	sh, err := b.findShardLocked(st, it.shard)
	if err != nil {
		return nil, err
	}
	if !b.cfg.DisableLimits &&
		(!sh.readBytes.admit(now, shardReadBytes, shardReadBytes) || !sh.getRecords.take(now, 1, 5, 5)) {
		return nil, b.shardThrottled(sh)
	}
	if in.DryRun {
		return nil, dryRun()
	}
	records, next := sh.readLocked(it.from, limit, maxGetBytes)
	size := 0
	for i := range records {
		size += records[i].size()
	}
	sh.readBytes.charge(now, size, shardReadBytes)
	out := getRecordsOutput{Records: records, MillisBehindLatest: sh.behindLocked(next, now)}
	if records == nil {
		out.Records = []record{}
	}
	if !sh.open() && next >= sh.next() {
		out.ChildShards = sh.childrenLocked()
		return out, nil
	}
	token := newIterator(now, sh, next)
	out.NextShardIterator = &token
	return out, nil
}
