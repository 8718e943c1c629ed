package kinesistest

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
)

// Records in JSON are written by hand, without reflection, into a buffer that is used again.
// Benchmarks of clients read from this server on the same machine. TestRecordsJSON compares the
// result with that of encoding/json.

// eventWriter sends the events of one subscription.
type eventWriter struct {
	codec   codec
	out     frameWriter
	headers []header
	payload []byte // used again
	frame   []byte // used again
}

func newEventWriter(c codec, out frameWriter) *eventWriter {
	return &eventWriter{codec: c, out: out, headers: eventHeaders(eventSubscribeToShard, c)}
}

func (w *eventWriter) write(e *subscribeToShardEvent) error {
	payload, err := encodeInto(w.payload[:0], w.codec, e)
	if err != nil {
		return err
	}
	w.payload = payload
	w.frame = appendFrame(w.frame[:0], w.headers, payload)
	return w.out.write(w.frame)
}

// encode is codec.encode with a fast way for records.
func encode(c codec, v any) ([]byte, error) { return encodeInto(nil, c, v) }

// encodeInto may use the memory of dst.
func encodeInto(dst []byte, c codec, v any) ([]byte, error) {
	if _, ok := c.(jsonCodec); !ok {
		return c.encode(v)
	}
	switch v := v.(type) {
	case *subscribeToShardEvent:
		return v.appendJSON(dst)
	case getRecordsOutput:
		return v.appendJSON(dst)
	}
	return c.encode(v)
}

func (e *subscribeToShardEvent) appendJSON(dst []byte) ([]byte, error) {
	dst = grow(dst, e.Records)
	dst = append(dst, '{')
	var err error
	if len(e.ChildShards) > 0 {
		if dst, err = appendMember(dst, `"ChildShards":`, e.ChildShards); err != nil {
			return nil, err
		}
		dst = append(dst, ',')
	}
	dst = append(dst, `"ContinuationSequenceNumber":`...)
	if e.ContinuationSequenceNumber == nil {
		dst = append(dst, "null"...)
	} else {
		dst = appendQuoted(dst, *e.ContinuationSequenceNumber)
	}
	dst = append(dst, `,"MillisBehindLatest":`...)
	dst = strconv.AppendInt(dst, e.MillisBehindLatest, 10)
	dst = append(dst, `,"Records":`...)
	dst = appendRecords(dst, e.Records)
	return append(dst, '}'), nil
}

func (o getRecordsOutput) appendJSON(dst []byte) ([]byte, error) {
	dst = grow(dst, o.Records)
	dst = append(dst, '{')
	var err error
	if len(o.ChildShards) > 0 {
		if dst, err = appendMember(dst, `"ChildShards":`, o.ChildShards); err != nil {
			return nil, err
		}
		dst = append(dst, ',')
	}
	dst = append(dst, `"MillisBehindLatest":`...)
	dst = strconv.AppendInt(dst, o.MillisBehindLatest, 10)
	if o.NextShardIterator != nil {
		dst = append(dst, `,"NextShardIterator":`...)
		dst = appendQuoted(dst, *o.NextShardIterator)
	}
	dst = append(dst, `,"Records":`...)
	dst = appendRecords(dst, o.Records)
	return append(dst, '}'), nil
}

func appendMember(dst []byte, name string, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(append(dst, name...), text...), nil
}

// grow makes room for the records.
func grow(dst []byte, records []record) []byte {
	const perRecord = 256 // names, number, time
	need := 1 << 10
	for i := range records {
		need += perRecord + base64.StdEncoding.EncodedLen(len(records[i].Data))
		if k := records[i].PartitionKey; k != nil {
			need += len(*k)
		}
	}
	if cap(dst)-len(dst) >= need {
		return dst
	}
	return append(make([]byte, 0, len(dst)+need), dst...)
}

func appendRecords(dst []byte, records []record) []byte {
	dst = append(dst, '[')
	for i := range records {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = records[i].appendJSON(dst)
	}
	return append(dst, ']')
}

func (r *record) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"SequenceNumber":"`...)
	dst = append(dst, r.SequenceNumber...)
	dst = append(dst, `","ApproximateArrivalTimestamp":`...)
	ms := max(r.ApproximateArrivalTimestamp.UnixMilli(), 0)
	dst = strconv.AppendInt(dst, ms/1000, 10)
	ms %= 1000
	dst = append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	dst = append(dst, `,"Data":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, r.Data)
	dst = append(dst, '"')
	if r.PartitionKey != nil {
		dst = append(dst, `,"PartitionKey":`...)
		dst = appendQuoted(dst, *r.PartitionKey)
	}
	if r.EncryptionType != "" {
		dst = append(dst, `,"EncryptionType":`...)
		dst = appendQuoted(dst, r.EncryptionType)
	}
	return append(dst, '}')
}

// appendQuoted appends a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, err := json.Marshal(s)
			if err != nil {
				panic(err) // a string always encodes
			}
			return append(dst, text...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
