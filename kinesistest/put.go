package kinesistest

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// PutRecord and PutRecords.
//
// The MD5 of the partition key, or ExplicitHashKey, decides the shard: the open one whose hash
// range contains it. With AUTO distribution the service chooses, and drops both. A record, data and
// key, may have MaxRecordSizeInKiB, by default 1 MiB. A PutRecords may have 500 records and 10 MiB.
// Each shard takes 1000 records and 1 MiB a second, with room for one record of the largest size at
// once. More fails with ProvisionedThroughputExceededException. For PutRecord the call fails, and
// for PutRecords only the record, which counts in FailedRecordCount.

var writeOperations = []operation{
	define("PutRecord", putRecord),
	define("PutRecords", putRecords),
}

// putEntry is one record of a request.
type putEntry struct {
	Data            []byte  `json:"Data"`
	PartitionKey    *string `json:"PartitionKey"`
	ExplicitHashKey *string `json:"ExplicitHashKey"`
}

type putRecordInput struct {
	streamRef
	putEntry
	SequenceNumberForOrdering *string `json:"SequenceNumberForOrdering"`
	DryRun                    bool    `json:"DryRun"`
}

type putRecordOutput struct {
	ShardID        string `json:"ShardId"`
	SequenceNumber string `json:"SequenceNumber"`
	EncryptionType string `json:"EncryptionType,omitempty"`
}

func putRecord(b *backend, now time.Time, in *putRecordInput) (any, error) {
	st, err := b.findUsableLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	if _, err := in.check(st, ""); err != nil {
		return nil, err
	}
	if n := in.SequenceNumberForOrdering; n != nil {
		if _, ok := parseSequence(*n); !ok && *n != "0" {
			return nil, invalid("ExclusiveMinimumSequenceNumber %s used in PutRecord on stream %s under account %s is invalid.",
				*n, st.name, b.cfg.AccountID)
		}
	}
	if in.DryRun {
		return nil, dryRun()
	}
	sh := st.placeLocked(in.putEntry)
	if err := b.takeWriteLocked(now, sh, in.size()); err != nil {
		return nil, err
	}
	rec := sh.appendLocked(now, in.PartitionKey, in.Data)
	return putRecordOutput{ShardID: sh.id, SequenceNumber: rec.SequenceNumber, EncryptionType: rec.EncryptionType}, nil
}

type putRecordsInput struct {
	streamRef
	Records []putEntry `json:"Records"`
	DryRun  bool       `json:"DryRun"`
}

type putResult struct {
	ShardID        string `json:"ShardId,omitempty"`
	SequenceNumber string `json:"SequenceNumber,omitempty"`
	ErrorCode      string `json:"ErrorCode,omitempty"`
	ErrorMessage   string `json:"ErrorMessage,omitempty"`
}

type putRecordsOutput struct {
	FailedRecordCount int         `json:"FailedRecordCount"`
	Records           []putResult `json:"Records"`
	EncryptionType    string      `json:"EncryptionType,omitempty"`
}

func putRecords(b *backend, now time.Time, in *putRecordsInput) (any, error) {
	switch n := len(in.Records); {
	case in.Records == nil:
		return nil, missing("records")
	case n == 0:
		return nil, constraint("[]", "records", "Member must have length greater than or equal to 1")
	case n > maxRecords:
		return nil, constraint("["+strconv.Itoa(n)+" records]", "records",
			"Member must have length less than or equal to 500")
	}
	st, err := b.findUsableLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	total := 0
	for i, e := range in.Records {
		size, err := e.check(st, "records."+strconv.Itoa(i+1)+".member.")
		if err != nil {
			return nil, err
		}
		total += size
	}
	if total > maxPutBytes {
		return nil, invalid("Records size exceeds %d MB limit", maxPutBytes>>20)
	}
	if in.DryRun {
		return nil, dryRun()
	}
	out := putRecordsOutput{Records: make([]putResult, 0, len(in.Records)), EncryptionType: st.recordEncryption()}
	for _, e := range in.Records {
		sh := st.placeLocked(e)
		if err := b.takeWriteLocked(now, sh, e.size()); err != nil {
			out.FailedRecordCount++
			out.Records = append(out.Records, putResult{ErrorCode: err.code, ErrorMessage: err.message})
			continue
		}
		rec := sh.appendLocked(now, e.PartitionKey, e.Data)
		out.Records = append(out.Records, putResult{ShardID: sh.id, SequenceNumber: rec.SequenceNumber})
	}
	return out, nil
}

func (e putEntry) size() int {
	if e.PartitionKey == nil {
		return len(e.Data)
	}
	return len(e.Data) + len(*e.PartitionKey)
}

// check validates a record for the stream and returns its size. prefix names the record in
// messages.
func (e putEntry) check(st *stream, prefix string) (int, error) {
	if e.Data == nil {
		return 0, missing(prefix + "data")
	}
	if st.distribution != distributionAuto {
		if err := e.checkKeys(prefix); err != nil {
			return 0, err
		}
	}
	size := e.size()
	if most := st.maxRecordKiB << 10; size > most {
		return 0, constraint(
			"java.nio.HeapByteBuffer[pos=0 lim="+strconv.Itoa(len(e.Data))+" cap="+strconv.Itoa(len(e.Data))+"]", prefix+"data",
			"Member must have length less than or equal to "+strconv.Itoa(most))
	}
	return size, nil
}

func (e putEntry) checkKeys(prefix string) error {
	if e.PartitionKey == nil {
		return missing(prefix + "partitionKey")
	}
	switch n := utf8.RuneCountInString(*e.PartitionKey); {
	case n == 0:
		return constraint("", prefix+"partitionKey", "Member must have length greater than or equal to 1")
	case n > maxPartitionKey:
		return constraint(*e.PartitionKey, prefix+"partitionKey", "Member must have length less than or equal to 256")
	}
	if e.ExplicitHashKey == nil {
		return nil
	}
	if !isDecimal(*e.ExplicitHashKey, 1<<10) {
		return constraint(
			*e.ExplicitHashKey,
			prefix+"explicitHashKey",
			`Member must satisfy regular expression pattern: 0|([1-9]\d{0,38})`,
		)
	}
	if _, ok := parseHashKey(*e.ExplicitHashKey); !ok {
		return invalid("Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was %s",
			*e.ExplicitHashKey)
	}
	return nil
}

// placeLocked returns the shard for a record that has been checked.
func (st *stream) placeLocked(e putEntry) *shard {
	if st.distribution == distributionAuto {
		open := st.openShardsLocked()
		st.turn++
		return open[st.turn%len(open)]
	}
	if e.ExplicitHashKey != nil {
		k, _ := parseHashKey(*e.ExplicitHashKey) // checked
		return st.routeLocked(k)
	}
	return st.routeLocked(hashOf(*e.PartitionKey))
}

// takeWriteLocked counts a record against the shard's throughput.
func (a *account) takeWriteLocked(now time.Time, sh *shard, size int) *apiError {
	if a.cfg.DisableLimits {
		return nil
	}
	burst := max(shardWriteBytes, sh.stream.maxRecordKiB<<10)
	if sh.writeBytes.wait(now, size, shardWriteBytes, burst) > 0 ||
		!sh.writeRecords.take(now, 1, shardWriteRecords, shardWriteRecords) {
		return a.shardThrottled(sh)
	}
	sh.writeBytes.charge(now, size, shardWriteBytes)
	return nil
}

func (a *account) shardThrottled(sh *shard) *apiError {
	return errf(codeThroughputExceeded, "Rate exceeded for shard %s in stream %s under account %s.", sh.id, sh.stream.name,
		a.cfg.AccountID)
}

func dryRun() *apiError {
	return errf(codeDryRun, "The request would have succeeded, but the DryRun parameter is set.")
}
