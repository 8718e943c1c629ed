package protocol

import (
	"encoding/base64"
	"io"
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/kinesis-go/kcl"
)

const (
	writeSize = 64 << 10 // bytes of one write
	// dataPiece is how many bytes of a record are encoded at a time. It is a multiple of 3, so that
	// only the last piece of a record has padding.
	dataPiece = 12 << 10
)

// DaemonWriter writes the messages of a daemon, byte for byte as the Java daemon does. A message is
// encoded and written in pieces of at most 64 KiB, whatever its length. After an error the child
// may have got a part of a message, and can get no other. It belongs to one goroutine.
type DaemonWriter struct {
	w           io.Writer
	buf         []byte
	err         error // of a write of the present message
	invalidKeys atomic.Int64
}

// NewDaemonWriter returns a writer of messages to w.
func NewDaemonWriter(w io.Writer) *DaemonWriter {
	return &DaemonWriter{w: w, buf: make([]byte, 0, writeSize)}
}

// InvalidKeys returns how many partition keys were no UTF-8. The bytes of them that are none became
// U+FFFD. Any goroutine may call it.
func (d *DaemonWriter) InvalidKeys() int64 { return d.invalidKeys.Load() }

// Initialize says which shard the child is for, and from where it is read. The zero position is
// written as null.
func (d *DaemonWriter) Initialize(shardID string, at kcl.ExtendedSequenceNumber) error {
	d.begin(Initialize)
	d.raw(`,"shardId":`)
	d.quote(shardID)
	if at.IsZero() {
		d.raw(`,"sequenceNumber":null,"subSequenceNumber":null`)
		return d.end()
	}
	d.raw(`,"sequenceNumber":`)
	d.quote(at.SequenceNumber)
	d.raw(`,"subSequenceNumber":`)
	d.integer(at.SubSequenceNumber)
	return d.end()
}

// ProcessRecords sends a batch. behind is how far it is behind the tip of the shard. It is written
// as null unless known. A record without a time of arrival gets receivedAt, because some clients
// cannot read null there. It allocates nothing.
func (d *DaemonWriter) ProcessRecords(
	records []kcl.Record, behind time.Duration, known bool, receivedAt time.Time,
) error {
	d.begin(ProcessRecords)
	d.raw(`,"records":[`)
	for i := range records {
		if i > 0 {
			d.raw(",")
		}
		d.record(&records[i], receivedAt)
	}
	d.raw(`],"millisBehindLatest":`)
	if known {
		d.integer(behind.Milliseconds())
	} else {
		d.raw("null")
	}
	return d.end()
}

func (d *DaemonWriter) record(r *kcl.Record, receivedAt time.Time) {
	d.raw(`{"data":"`)
	d.base64(r.Data())
	d.raw(`","partitionKey":`)
	if key, ok := r.PartitionKey(); ok {
		if !utf8.ValidString(key) {
			d.invalidKeys.Add(1)
		}
		d.quote(key)
	} else {
		d.raw("null")
	}
	d.raw(`,"sequenceNumber":`)
	d.quote(r.SequenceNumber())
	d.raw(`,"approximateArrivalTimestamp":`)
	arrival := r.ApproximateArrival()
	if arrival.IsZero() {
		arrival = receivedAt
	}
	d.integer(arrival.UnixMilli())
	d.raw(`,"subSequenceNumber":`)
	d.integer(r.SubSequenceNumber())
	d.raw(`,"action":"record"}`)
}

// Answer answers a checkpoint of the child. It repeats the position that was asked. javaError is
// the simple name of a Java exception. It is empty if the checkpoint is written.
func (d *DaemonWriter) Answer(asked Asked, javaError string) error {
	d.begin(Checkpoint)
	d.raw(`,"sequenceNumber":`)
	if asked.SequenceNumber != nil {
		d.quote(*asked.SequenceNumber)
	} else {
		d.raw("null")
	}
	d.raw(`,"subSequenceNumber":`)
	if asked.SubSequenceNumber != nil {
		d.integer(*asked.SubSequenceNumber)
	} else {
		d.raw("null")
	}
	d.raw(`,"error":`)
	if javaError != "" {
		d.quote(javaError)
	} else {
		d.raw("null")
	}
	return d.end()
}

// Simple sends an action without fields: LeaseLost, ShardEnded or ShutdownRequested.
func (d *DaemonWriter) Simple(action Action) error {
	d.begin(action)
	return d.end()
}

func (d *DaemonWriter) begin(action Action) {
	d.buf, d.err = d.buf[:0], nil
	d.raw(`{"action":`)
	d.quote(string(action))
}

// end writes the rest of a message.
func (d *DaemonWriter) end() error {
	d.raw("}\n")
	d.flush()
	return d.err
}

// flush writes what is in the buffer. After an error it drops the rest of the message.
func (d *DaemonWriter) flush() {
	if d.err == nil {
		_, d.err = d.w.Write(d.buf)
	}
	d.buf = d.buf[:0]
}

// room makes room for n bytes, which are fewer than the buffer has.
func (d *DaemonWriter) room(n int) {
	if cap(d.buf)-len(d.buf) < n {
		d.flush()
	}
}

// raw writes a short text of the protocol.
func (d *DaemonWriter) raw(text string) {
	d.room(len(text))
	d.buf = append(d.buf, text...)
}

func (d *DaemonWriter) integer(n int64) {
	d.room(20)
	d.buf = strconv.AppendInt(d.buf, n, 10)
}

// base64 writes data without quotation marks.
func (d *DaemonWriter) base64(data []byte) {
	for len(data) > 0 {
		piece := data[:min(len(data), dataPiece)]
		data = data[len(piece):]
		d.room(base64.StdEncoding.EncodedLen(len(piece)))
		d.buf = base64.StdEncoding.AppendEncode(d.buf, piece)
	}
}

const upperHex = "0123456789ABCDEF"

// quote writes a string with the escapes of Jackson. Bytes that are no UTF-8 become U+FFFD.
func (d *DaemonWriter) quote(text string) {
	d.raw(`"`)
	if len(text) < writeSize && plain(text) {
		d.raw(text)
		text = ""
	}
	for _, r := range text {
		d.room(utf8.UTFMax + len(`\u0000`))
		switch {
		case r == '"' || r == '\\':
			d.buf = append(d.buf, '\\', byte(r))
		case r >= ' ':
			d.buf = utf8.AppendRune(d.buf, r)
		case r == '\b':
			d.buf = append(d.buf, `\b`...)
		case r == '\t':
			d.buf = append(d.buf, `\t`...)
		case r == '\n':
			d.buf = append(d.buf, `\n`...)
		case r == '\f':
			d.buf = append(d.buf, `\f`...)
		case r == '\r':
			d.buf = append(d.buf, `\r`...)
		default:
			d.buf = append(d.buf, '\\', 'u', '0', '0', upperHex[r>>4], upperHex[r&15])
		}
	}
	d.raw(`"`)
}

// plain tells whether text needs no escape.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
