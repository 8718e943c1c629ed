package kinesistest

import (
	"strconv"
	"strings"
	"time"
)

// GetShardIterator, and positions, which SubscribeToShard shares.
//
//	AT_SEQUENCE_NUMBER    the record with the number, or the first after it
//	AFTER_SEQUENCE_NUMBER the first record after the number
//	TRIM_HORIZON          the oldest record
//	LATEST                what is written from now on
//	AT_TIMESTAMP          the first record that arrived at the time or later; a time before the
//	                      horizon means the horizon, a time in the future is InvalidArgumentException
//
// A sequence number must belong to the shard: to a record, as starting or ending number, or as a
// continuation. A number whose record has been trimmed means the horizon. An iterator may be used
// for five minutes, then it is ExpiredIteratorException. An iterator in quotes is accepted. A shard
// takes five calls per second.

type startingPosition struct {
	Type           string     `json:"Type"`
	SequenceNumber string     `json:"SequenceNumber"`
	Timestamp      *timestamp `json:"Timestamp"`
}

type getShardIteratorInput struct {
	streamRef
	ShardID                string     `json:"ShardId"`
	ShardIteratorType      string     `json:"ShardIteratorType"`
	StartingSequenceNumber string     `json:"StartingSequenceNumber"`
	Timestamp              *timestamp `json:"Timestamp"`
	DryRun                 bool       `json:"DryRun"`
}

func (in *getShardIteratorInput) resource() resource {
	r := in.streamRef.resource()
	r.shard = in.ShardID
	return r
}

type getShardIteratorOutput struct {
	ShardIterator string `json:"ShardIterator"`
}

func getShardIterator(b *backend, now time.Time, in *getShardIteratorInput) (any, error) {
	st, err := b.findUsableLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	sh, err := b.findShardLocked(st, in.ShardID)
	if err != nil {
		return nil, err
	}
	if !b.cfg.DisableLimits && !sh.getIterator.take(now, 1, 5, 5) {
		return nil, b.shardThrottled(sh)
	}
	if in.ShardIteratorType == "" {
		return nil, missing("shardIteratorType")
	}
	position := startingPosition{
		Type:           in.ShardIteratorType,
		SequenceNumber: in.StartingSequenceNumber,
		Timestamp:      in.Timestamp,
	}
	from, err := b.resolveLocked(now, sh, position, "GetShardIterator")
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	return getShardIteratorOutput{ShardIterator: newIterator(now, sh, from)}, nil
}

// resolveLocked turns a position into the index of the first record to read.
func (a *account) resolveLocked(now time.Time, sh *shard, p startingPosition, operation string) (uint64, error) {
	switch p.Type {
	case "TRIM_HORIZON":
		return sh.base, nil
	case "LATEST":
		return sh.next(), nil
	case "AT_TIMESTAMP":
		if p.Timestamp == nil {
			return 0, invalid("Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request " +
				"has no timestamp parameter.")
		}
		if p.Timestamp.After(now) {
			return 0, invalid("The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "+
				"timestampInMillis: %d, currentTimestampInMillis: %d",
				p.Timestamp.UnixMilli(), now.UnixMilli())
		}
		return sh.atTimeLocked(p.Timestamp.Time), nil
	case "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER":
	default:
		return 0, constraint(p.Type, "shardIteratorType",
			"Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, "+
				"TRIM_HORIZON]")
	}
	if p.SequenceNumber == "" {
		return 0, invalid("Must specify sequence number for iterator of type %s. Current request has no sequence number.",
			p.Type)
	}
	if !isDecimal(p.SequenceNumber, maxSequenceDigits) {
		return 0, constraint(
			p.SequenceNumber,
			"startingSequenceNumber",
			`Member must satisfy regular expression pattern: 0|([1-9]\d{0,128})`,
		)
	}
	seq, ok := parseSequence(p.SequenceNumber)
	switch {
	case ok && int(seq.shard) != sh.number:
		return 0, invalid("Invalid StartingSequenceNumber. It encodes %s, while it was used in a call to a shard with %s",
			shardID(int(seq.shard)), sh.id)
	case !ok || seq.epoch != sh.epoch || seq.index >= sh.next():
		return 0, invalid("StartingSequenceNumber %s used in %s on shard %s in stream %s under account %s is invalid "+
			"because it did not come from this stream.",
			p.SequenceNumber, operation, sh.id, sh.stream.name, a.cfg.AccountID)
	}
	if p.Type == "AFTER_SEQUENCE_NUMBER" || seq.index < sh.base {
		return max(seq.index+1, sh.base), nil
	}
	if sh.records[seq.index-sh.base].SequenceNumber == p.SequenceNumber {
		return seq.index, nil
	}
	return seq.index + 1, nil // between this record and the next
}

// iterator is the content of a shard iterator.
type iterator struct {
	issued  time.Time
	stream  string
	created int64 // of the stream, epoch seconds
	shard   string
	from    uint64
}

func newIterator(now time.Time, sh *shard, from uint64) string {
	return seal(now, tokenIterator, strings.Join([]string{
		sh.stream.name, itoa64(sh.stream.created.Unix()), sh.id, strconv.FormatUint(from, 10),
	}, "|"))
}

// renewed returns the iterator n records later.
func (it iterator) renewed(now time.Time, n int) string {
	return seal(now, tokenIterator, strings.Join([]string{
		it.stream, itoa64(it.created), it.shard, strconv.FormatUint(it.from+uint64(n), 10),
	}, "|"))
}

// parseIterator reads an iterator, in quotes or not.
func parseIterator(token string) (iterator, bool) {
	if len(token) > 2 && token[0] == '"' && token[len(token)-1] == '"' {
		token = token[1 : len(token)-1]
	}
	issued, content, ok := unseal(tokenIterator, token)
	fields := strings.Split(content, "|")
	if !ok || len(fields) != 4 {
		return iterator{}, false
	}
	created, err1 := strconv.ParseInt(fields[1], 10, 64)
	from, err2 := strconv.ParseUint(fields[3], 10, 64)
	it := iterator{issued: issued, stream: fields[0], created: created, shard: fields[2], from: from}
	return it, err1 == nil && err2 == nil
}
