package protocol

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
)

// FromDaemon is a message that a daemon sends. Which fields have a value depends on the action.
type FromDaemon struct {
	// Action may be one that this package does not know.
	Action Action
	// ShardID comes with Initialize.
	ShardID string
	// Position comes with Initialize: where the shard is read from. It is zero if the daemon gave
	// none.
	Position kcl.ExtendedSequenceNumber
	// Records come with ProcessRecords.
	Records []kcl.Record
	// Behind comes with ProcessRecords, if BehindKnown.
	Behind      time.Duration
	BehindKnown bool
	// Reason comes with Shutdown.
	Reason string
	// Error comes with Checkpoint: the name of a Java class, or empty if the checkpoint is written.
	Error string
	// Unknown are names of fields that this package does not know, at most 8, each once.
	Unknown []string
}

// Known tells whether a daemon may send the action to a child.
func (m FromDaemon) Known() bool {
	switch m.Action {
	case Initialize, ProcessRecords, LeaseLost, ShardEnded, ShutdownRequested, Shutdown, Checkpoint:
		return true
	}
	return false
}

// ParseFromDaemon reads a line of a daemon. Fields that it does not know are skipped, and so are
// all fields of an unknown action. The error says what is wrong with the line. The records of a
// batch share a few blocks of memory. ParseFromDaemon changes the line, and keeps nothing of it.
func ParseFromDaemon(line []byte) (FromDaemon, error) {
	p := daemonParser{s: scanner{line: line}}
	if err := p.s.object(p.field); err != nil {
		return FromDaemon{}, err
	}
	if p.s.peek(); p.s.at < len(line) {
		return FromDaemon{}, p.s.fail()
	}
	if p.m.Action == "" {
		return FromDaemon{}, errors.New("a message has no action")
	}
	if !p.m.Known() {
		return p.m, nil
	}
	if p.m.Action == Initialize {
		if p.m.ShardID == "" {
			return FromDaemon{}, errors.New("initialize has no shardId")
		}
		if p.number == "" {
			return p.m, nil
		}
		position, err := kcl.ParseSequenceNumber(p.number, p.sub)
		if err != nil {
			return FromDaemon{}, fmt.Errorf("read the position of initialize: %w", err)
		}
		p.m.Position = position
	}
	var err error
	p.m.Records, err = makeRecords(p.raw)
	return p.m, err
}

// daemonParser collects the fields of one message.
type daemonParser struct {
	s      scanner
	m      FromDaemon
	number string // of the message, not of a record
	sub    int64
	raw    []rawRecord
}

// rawRecord is a record whose texts are still part of the line.
type rawRecord struct {
	data, key, number []byte
	hasKey            bool
	sub               int64
	arrival           int64 // milliseconds since 1970
	hasArrival        bool
}

// field reads a field of a message.
func (p *daemonParser) field(name []byte) (err error) {
	if p.m.Action != "" && !p.m.Known() {
		return p.s.skip(0)
	}
	switch string(name) {
	case "action":
		var action string
		action, err = p.text()
		p.m.Action = Action(action)
	case "shardId":
		p.m.ShardID, err = p.text()
	case "sequenceNumber":
		p.number, err = p.text()
	case "subSequenceNumber":
		p.sub, _, err = p.s.integer()
	case "records":
		err = p.records()
	case "millisBehindLatest":
		var millis int64
		millis, p.m.BehindKnown, err = p.s.integer()
		p.m.Behind = time.Duration(min(max(millis, 0), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	case "reason":
		p.m.Reason, err = p.text()
	case "error":
		p.m.Error, err = p.text()
	case "checkpoint": // the name of sequenceNumber in the first daemons
		err = p.s.skip(0)
	default:
		err = p.unknown(name)
	}
	if err != nil && !errors.Is(err, errNotJSON) {
		return fmt.Errorf("field %.40q: %w", name, err)
	}
	return err
}

func (p *daemonParser) text() (string, error) {
	text, _, err := p.s.text()
	return string(text), err
}

// unknown skips a field and keeps its name.
func (p *daemonParser) unknown(name []byte) error {
	if len(p.m.Unknown) < 8 && !slices.Contains(p.m.Unknown, string(name)) {
		p.m.Unknown = append(p.m.Unknown, string(name))
	}
	return p.s.skip(0)
}

// records reads the field records.
func (p *daemonParser) records() error {
	p.raw = nil
	if null, err := p.s.null(); null || err != nil {
		return err
	}
	// Each record has one partition key, and its name is rare elsewhere.
	p.raw = make([]rawRecord, 0, bytes.Count(p.s.line[p.s.at:], []byte(`"partitionKey"`)))
	return p.s.array(func() error {
		p.raw = append(p.raw, rawRecord{})
		if err := p.s.object(p.recordField); err != nil {
			return err
		}
		if p.raw[len(p.raw)-1].number == nil {
			return fmt.Errorf("record %d has no sequenceNumber", len(p.raw))
		}
		return nil
	})
}

// recordField reads a field of the last record.
func (p *daemonParser) recordField(name []byte) (err error) {
	r := &p.raw[len(p.raw)-1]
	switch string(name) {
	case "data":
		r.data, _, err = p.s.text()
	case "partitionKey":
		r.key, r.hasKey, err = p.s.text()
	case "sequenceNumber":
		r.number, _, err = p.s.text()
	case "subSequenceNumber":
		r.sub, _, err = p.s.integer()
	case "approximateArrivalTimestamp":
		r.arrival, r.hasArrival, err = p.s.integer()
	case "action":
		err = p.s.skip(0)
	default:
		err = p.unknown(name)
	}
	return err
}

// makeRecords makes records that share one block of data, one of texts and one of keys.
func makeRecords(raw []rawRecord) ([]kcl.Record, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	size, texts := 0, 0
	for _, r := range raw {
		size += base64.StdEncoding.DecodedLen(len(r.data))
		texts += len(r.key) + len(r.number)
	}
	var block strings.Builder
	block.Grow(texts)
	for _, r := range raw {
		block.Write(r.key)
		block.Write(r.number)
	}
	rest := block.String()
	cut := func(n int) string {
		text := rest[:n]
		rest = rest[n:]
		return text
	}
	data := make([]byte, size)
	keys := make([]string, len(raw))
	records := make([]kcl.Record, len(raw))
	for i, r := range raw {
		n, err := base64.StdEncoding.Decode(data, r.data)
		if err != nil {
			return nil, fmt.Errorf("decode the data of record %d: %w", i+1, err)
		}
		f := kcl.RecordFields{Data: data[:n:n], SubSequenceNumber: r.sub}
		data = data[n:]
		keys[i] = cut(len(r.key))
		if r.hasKey {
			f.PartitionKey = &keys[i]
		}
		f.SequenceNumber = cut(len(r.number))
		if r.hasArrival {
			f.ApproximateArrival = time.UnixMilli(r.arrival)
		}
		records[i] = kcl.NewRecord(f)
		if err := records[i].Position().Validate(); err != nil || records[i].Position().IsSentinel() {
			return nil, fmt.Errorf("record %d has the sequence number %.150q and the sub-sequence number %d",
				i+1, r.number, r.sub)
		}
	}
	return records, nil
}
