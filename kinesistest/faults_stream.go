package kinesistest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// frameWriter sends one frame of a subscription and flushes it. After an error the stream is over.
type frameWriter interface {
	write(frame []byte) error
}

// At is a place in a subscription: see [AfterBytes] and [AfterEvents].
type At struct {
	bytes, events int
}

// AfterBytes is the place after n bytes of the body, anywhere in a frame, initial-response
// included; 0 is before the first.
func AfterBytes(n int) At { return At{bytes: n, events: -1} }

// AfterEvents is the place right after the n-th event; 0 is after the initial-response.
func AfterEvents(n int) At { return At{bytes: -1, events: n} }

// streamStep is one effect of a fault on a subscription.
type streamStep struct {
	kind          stepKind
	at            At // for steps between events or bytes
	event         int
	size          int
	name, message string
	delay         time.Duration
}

type stepKind int

const (
	// Steps at a place.
	stepEnd stepKind = iota
	stepReset
	stepStall
	stepException
	stepError
	stepUnknown
	stepFalseEnd
	// Steps on one event.
	stepCorrupt
	stepTruncate
	stepInflate
	stepDuplicate
	// Steps on the first frame.
	stepSlowStart
	stepNoInitialResponse
	stepRepeatLast
)

func step(s streamStep) Action {
	return Action{do: func(p *plan) { p.steps = append(p.steps, s) }, remembers: s.kind == stepRepeatLast}
}

// EndStream ends the subscription at a place like a normal end. Inside a frame that leaves the
// frame truncated.
func EndStream(at At) Action { return step(streamStep{kind: stepEnd, at: at}) }

// ResetStream breaks the subscription off at a place: RST_STREAM on HTTP/2, a closed connection on
// HTTP/1.1. Bytes sent just before may be lost. For the whole connection see
// [Server.ResetConnections].
func ResetStream(at At) Action { return step(streamStep{kind: stepReset, at: at}) }

// StallStream sends nothing after a place, and keeps the subscription open while its client waits.
func StallStream(at At) Action { return step(streamStep{kind: stepStall, at: at}) }

// SendException sends an exception after the n-th event (0: after the initial-response) and ends
// the subscription. name is its bare name, such as ResourceInUseException or
// InternalFailureException.
func SendException(n int, name, message string) Action {
	return step(streamStep{kind: stepException, at: AfterEvents(n), name: name, message: message})
}

// SendError sends a message of type error after the n-th event (0: after the initial-response) and
// ends the subscription.
func SendError(n int, code, message string) Action {
	return step(streamStep{kind: stepError, at: AfterEvents(n), name: code, message: message})
}

// SendUnknownEvent sends an event of a type that no client knows after the n-th event (0: after the
// initial-response).
func SendUnknownEvent(n int) Action { return step(streamStep{kind: stepUnknown, at: AfterEvents(n)}) }

// SendFalseEnd sends, after the n-th event (0: after the initial-response), an event that says that
// the shard has ended, at any place of the subscription. The event has no records, a null
// continuation and no children, and behind as its MillisBehindLatest. Then the subscription ends.
func SendFalseEnd(n int, behind time.Duration) Action {
	return step(streamStep{kind: stepFalseEnd, at: AfterEvents(n), delay: behind})
}

// CorruptEvent flips a bit in the payload of the n-th event (1 is the first), so that its checksum
// is wrong.
func CorruptEvent(n int) Action { return step(streamStep{kind: stepCorrupt, event: n}) }

// TruncateEvent sends half of the n-th event (1 is the first) and ends the subscription normally.
func TruncateEvent(n int) Action { return step(streamStep{kind: stepTruncate, event: n}) }

// InflateEvent makes the n-th event (1 is the first) larger by size bytes, in a member of its
// payload that clients ignore.
func InflateEvent(n, size int) Action {
	return step(streamStep{kind: stepInflate, event: n, size: size})
}

// DuplicateEvent sends the n-th event (1 is the first) twice.
func DuplicateEvent(n int) Action { return step(streamStep{kind: stepDuplicate, event: n}) }

// SlowStart makes the initial-response wait, and the events after it. The headers of the answer are
// sent at once.
func SlowStart(d time.Duration) Action { return step(streamStep{kind: stepSlowStart, delay: d}) }

// NoInitialResponse leaves out the initial-response.
func NoInitialResponse() Action { return step(streamStep{kind: stepNoInitialResponse}) }

// RepeatLastEvent begins the subscription with the last event that the same consumer got from the
// same shard, at any position. Inject it before that event is sent: the server remembers events
// only from then on.
func RepeatLastEvent() Action { return step(streamStep{kind: stepRepeatLast}) }

// stream returns a writer that applies the faults of the call to a subscription. The writer may
// wait and may panic with [http.ErrAbortHandler]. After an error of the writer the handler returns
// too.
func (f *faults) stream(c *Call, w frameWriter) frameWriter {
	return &faultyWriter{faults: f, call: c, next: w}
}

type faultyWriter struct {
	faults *faults
	call   *Call
	next   frameWriter
	bytes  int // sent
	events int // sent
	frames int // sent or left out
}

func (w *faultyWriter) write(frame []byte) error {
	if w.faults.frozen.Load() > 0 && !w.faults.whileFrozen(w.call) {
		panic(http.ErrAbortHandler)
	}
	remember := w.faults.remember.Load()
	if len(w.call.steps) == 0 && !remember {
		return w.next.write(frame)
	}
	w.frames++
	if w.frames == 1 {
		return w.start(frame)
	}
	if f, _, err := decodeFrame(frame); err != nil || f.value(headerEventType) != eventSubscribeToShard {
		return w.send(frame) // an exception of the fake's own
	}
	if remember {
		w.faults.setLast(w.call, frame)
	}
	return w.event(frame)
}

// start sends the initial-response.
func (w *faultyWriter) start(frame []byte) error {
	if s := w.find(stepSlowStart, 0); s != nil && !w.faults.wait(w.call.done, s.delay) {
		return errStreamOver
	}
	if w.find(stepNoInitialResponse, 0) == nil {
		if err := w.send(frame); err != nil {
			return err
		}
	}
	if err := w.place(); err != nil {
		return err
	}
	if w.find(stepRepeatLast, 0) != nil {
		if last := w.faults.lastOf(w.call); last != nil {
			return w.event(last)
		}
	}
	return nil
}

// event sends an event with the steps on it and after it.
func (w *faultyWriter) event(frame []byte) error {
	n := w.events + 1
	if s := w.find(stepInflate, n); s != nil {
		frame = inflate(frame, s.size)
	}
	if w.find(stepCorrupt, n) != nil {
		frame = slices.Clone(frame)
		frame[len(frame)-trailerLen-1] ^= 1
	}
	if w.find(stepTruncate, n) != nil {
		if err := w.send(frame[:len(frame)/2]); err != nil {
			return err
		}
		return errStreamOver
	}
	if err := w.send(frame); err != nil {
		return err
	}
	if w.find(stepDuplicate, n) != nil {
		if err := w.send(frame); err != nil {
			return err
		}
	}
	w.events = n
	return w.place()
}

// find returns the step of that kind for the n-th event.
func (w *faultyWriter) find(kind stepKind, n int) *streamStep {
	for i := range w.call.steps {
		if s := &w.call.steps[i]; s.kind == kind && s.event == n {
			return s
		}
	}
	return nil
}

// place does the steps at the place after the last event.
func (w *faultyWriter) place() error {
	for _, s := range w.call.steps {
		if s.kind <= stepFalseEnd && s.at.events == w.events {
			if err := w.act(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *faultyWriter) act(s streamStep) error {
	switch s.kind {
	case stepEnd:
		return errStreamOver
	case stepReset:
		panic(http.ErrAbortHandler)
	case stepStall:
		w.faults.wait(w.call.done, forEver)
		return errStreamOver
	case stepException:
		if err := w.send(exceptionFrame(s.name, s.message, w.call.encoding())); err != nil {
			return err
		}
		return errStreamOver
	case stepError:
		if err := w.send(errorFrame(s.name, s.message)); err != nil {
			return err
		}
		return errStreamOver
	case stepUnknown:
		payload, _ := w.call.encoding().encode(struct{}{})
		return w.send(appendFrame(nil, eventHeaders("EventOfTheFuture", w.call.encoding()), payload))
	case stepFalseEnd:
		w := newEventWriter(w.call.encoding(), frameFunc(w.send))
		if err := w.write(
			&subscribeToShardEvent{Records: []record{}, MillisBehindLatest: s.delay.Milliseconds()},
		); err != nil {
			return err
		}
		return errStreamOver
	default:
		return nil
	}
}

// frameFunc is a frameWriter.
type frameFunc func(frame []byte) error

func (f frameFunc) write(frame []byte) error { return f(frame) }

// send writes bytes, and stops at the first place among them that has a step.
func (w *faultyWriter) send(b []byte) error {
	for {
		next := -1
		for i, s := range w.call.steps {
			if s.kind <= stepFalseEnd && s.at.bytes >= w.bytes && s.at.bytes <= w.bytes+len(b) &&
				(next < 0 || s.at.bytes < w.call.steps[next].at.bytes) {
				next = i
			}
		}
		if next < 0 {
			w.bytes += len(b)
			return w.next.write(b)
		}
		s := w.call.steps[next]
		part := s.at.bytes - w.bytes
		if part > 0 {
			if err := w.next.write(b[:part]); err != nil {
				return err
			}
		}
		w.bytes, b = s.at.bytes, b[part:]
		if err := w.act(s); err != nil { // of the steps at a byte, each ends the stream
			return err
		}
	}
}

// inflate adds a member of about size bytes to the payload of an event.
func inflate(frame []byte, size int) []byte {
	f, _, err := decodeFrame(frame)
	if err != nil {
		return frame
	}
	const member = "Padding"
	padding := string(bytes.Repeat([]byte{'x'}, size))
	var payload []byte
	if f.value(headerContentType) == contentTypeCBOR {
		var m map[string]cbor.RawMessage
		if cborDecoding.Unmarshal(f.payload, &m) != nil {
			return frame
		}
		m[member], _ = cborEncoding.Marshal(padding)
		payload, _ = cborEncoding.Marshal(m)
	} else {
		var m map[string]json.RawMessage
		if json.Unmarshal(f.payload, &m) != nil {
			return frame
		}
		m[member] = json.RawMessage(`"` + padding + `"`)
		payload, _ = json.Marshal(m)
	}
	return appendFrame(nil, f.headers, payload)
}

func (f *faults) setLast(c *Call, frame []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last[c.Consumer+"/"+c.Shard] = slices.Clone(frame)
}

func (f *faults) lastOf(c *Call) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last[c.Consumer+"/"+c.Shard]
}
