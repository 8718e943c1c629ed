package processors

import "github.com/kinesis-go/kcl"

// after returns the records after pos. Records at or before pos are delivered again because a call
// has failed halfway.
func after(records []kcl.Record, pos kcl.ExtendedSequenceNumber) []kcl.Record {
	for i, r := range records {
		if r.Position().Compare(pos) > 0 {
			return records[i:]
		}
	}
	return nil
}

// size is the number of bytes of data.
func size(records []kcl.Record) int64 {
	var n int64
	for i := range records {
		n += int64(len(records[i].Data()))
	}
	return n
}

func last(records []kcl.Record) kcl.ExtendedSequenceNumber {
	return records[len(records)-1].Position()
}

// part is the input for a part of the records of in. Only the last part is at the end of the shard.
func part(in kcl.ProcessRecordsInput, records []kcl.Record, end bool, ck kcl.Checkpointer) kcl.ProcessRecordsInput {
	in.Records, in.Checkpointer = records, ck
	if !end {
		in.AtShardEnd, in.Children = false, nil
	}
	return in
}
