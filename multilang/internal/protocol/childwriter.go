package protocol

import (
	"encoding/json"
	"io"
	"strconv"

	"github.com/kinesis-go/kcl"
)

// ChildWriter writes the messages of a child, byte for byte as the Python client does. A newline
// comes first. So a message begins a line, even if something else was printed without a newline.
// Each message is one Write. It belongs to one goroutine.
type ChildWriter struct {
	w   io.Writer
	buf []byte
}

// NewChildWriter returns a writer of messages to w.
func NewChildWriter(w io.Writer) *ChildWriter { return &ChildWriter{w: w} }

// Status says that the action has been handled.
func (c *ChildWriter) Status(responseFor Action) error {
	c.buf = append(c.buf[:0], "\n{\"action\": \"status\", \"responseFor\": "...)
	if err := c.quote(string(responseFor)); err != nil {
		return err
	}
	return c.send()
}

// Checkpoint asks the daemon to checkpoint a position, or everything that was delivered if position
// is nil. The sub-sequence number is null unless withSub.
func (c *ChildWriter) Checkpoint(position *kcl.ExtendedSequenceNumber, withSub bool) error {
	c.buf = append(c.buf[:0], "\n{\"action\": \"checkpoint\", \"sequenceNumber\": "...)
	if position == nil {
		c.buf = append(c.buf, "null"...)
	} else if err := c.quote(position.SequenceNumber); err != nil {
		return err
	}
	c.buf = append(c.buf, ", \"subSequenceNumber\": "...)
	if position == nil || !withSub {
		c.buf = append(c.buf, "null"...)
	} else {
		c.buf = strconv.AppendInt(c.buf, position.SubSequenceNumber, 10)
	}
	return c.send()
}

// quote appends text as a JSON string.
func (c *ChildWriter) quote(text string) error {
	quoted, err := json.Marshal(text)
	c.buf = append(c.buf, quoted...)
	return err
}

// send ends the message and writes it.
func (c *ChildWriter) send() error {
	c.buf = append(c.buf, "}\n"...)
	_, err := c.w.Write(c.buf)
	return err
}
