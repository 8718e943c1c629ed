package multilang

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	stderrRead  = 16 << 10    // bytes of one read
	stderrLine  = 4 << 10     // bytes of a line that are logged as one
	stderrFlush = time.Second // how long an unfinished line may wait for its end
	tailLines   = 10          // lines that are kept for an error text
	tailLine    = 256         // bytes that are kept of each
)

// stderrDrain reads what a child writes to its standard error, whatever its length. Otherwise the
// pipe would fill, and the child would stand still. It hands each line to emit once. A long line is
// handed on in pieces, and an unfinished line after stderrFlush.
type stderrDrain struct {
	emit func(line []byte) // gets no empty line, and keeps nothing of it

	mu   sync.Mutex // guards last
	last []string   // the last lines, escaped
}

// run reads r to its end.
func (d *stderrDrain) run(r io.Reader) {
	chunks, taken := make(chan []byte), make(chan struct{})
	go func() { // ends at the end of r; run waits for it
		defer close(chunks)
		buf := make([]byte, stderrRead)
		for {
			n, err := r.Read(buf)
			if n > 0 {
				chunks <- buf[:n]
				<-taken
			}
			if err != nil {
				return
			}
		}
	}()
	var line []byte // the unfinished line
	flush := time.NewTimer(stderrFlush)
	flush.Stop()
	for {
		select {
		case chunk, ok := <-chunks:
			if !ok {
				d.line(line)
				return
			}
			var begun bool
			line, begun = d.split(line, chunk)
			taken <- struct{}{}
			if begun {
				flush.Reset(stderrFlush)
			} else if len(line) == 0 {
				flush.Stop()
			}
		case <-flush.C:
			d.line(line)
			line = line[:0]
		}
	}
}

// split adds chunk to the unfinished line, and hands on what is finished. It returns the rest, and
// whether that begins in chunk.
func (d *stderrDrain) split(line, chunk []byte) (rest []byte, begun bool) {
	begun = len(line) == 0
	for len(chunk) > 0 {
		piece, ended := chunk, false
		if i := bytes.IndexByte(chunk, '\n'); i >= 0 {
			piece, ended = chunk[:i], true
		}
		if room := stderrLine - len(line); len(piece) > room {
			piece, ended = piece[:room], false
		}
		line = append(line, piece...)
		if chunk = chunk[len(piece):]; ended {
			chunk = chunk[1:]
		}
		if ended || len(line) == stderrLine && (len(chunk) > 0 && chunk[0] != '\n') {
			d.line(line)
			line, begun = line[:0], true
		}
	}
	return line, begun && len(line) > 0
}

// line hands a line on, and keeps it.
func (d *stderrDrain) line(line []byte) {
	line = bytes.TrimRight(line, "\r")
	if len(line) == 0 {
		return
	}
	d.emit(line)
	kept := escape(line, tailLine)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.last) == tailLines {
		d.last = slices.Delete(d.last, 0, 1)
	}
	d.last = append(d.last, kept)
}

// tail returns the last lines, for an error text. It is empty if the child wrote none.
func (d *stderrDrain) tail() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.last, " | ")
}

// escape returns the first limit bytes of text. Control characters and bytes that are no UTF-8 are
// escaped as in Go. So the text begins no line in a log, and moves no cursor.
func escape(text []byte, limit int) string {
	cut := len(text) - limit
	if cut > 0 {
		text = text[:limit]
	}
	escaped := string(text)
	if slices.ContainsFunc(text, special) {
		quoted := strconv.Quote(escaped)
		escaped = strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
	}
	if cut > 0 {
		escaped += "... (" + strconv.Itoa(cut) + " more bytes)"
	}
	return escaped
}

// special tells whether a byte may need an escape.
func special(b byte) bool { return b < ' ' || b > '~' || b == '\\' }
