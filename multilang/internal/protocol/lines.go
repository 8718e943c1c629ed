package protocol

import (
	"bufio"
	"bytes"
	"io"
)

const (
	// LongLine is the length in bytes above which a line is worth a log line.
	LongLine = 64 << 20

	readSize   = 64 << 10 // bytes of one read
	keptBuffer = 1 << 20  // a larger buffer is given back when lines are short again
	shortLines = 16       // so many lines in a row that need a quarter of the buffer are short again
)

// LineReader reads lines of any length. It belongs to one goroutine.
type LineReader struct {
	// Limit is how many bytes of a line are kept. The rest of the line is read and dropped. 0 means
	// that all are kept.
	Limit int
	// OnLong is called once, when a line is longer than [LongLine]. It may be nil.
	OnLong func()

	r     *bufio.Reader
	line  []byte
	ended bool
	short int // lines in a row that would fit into a smaller buffer
}

// NewLineReader returns a reader of the lines of r.
func NewLineReader(r io.Reader) *LineReader {
	return &LineReader{r: bufio.NewReaderSize(r, readSize)}
}

// Next returns the next line that is not blank, without its end. A line ends with a newline, a
// carriage return or the end of the input, as in Java. The line is valid until the next call, and
// the caller may change it. At the end of the input the error is [io.EOF].
func (l *LineReader) Next() ([]byte, error) {
	for {
		err := l.read()
		if len(bytes.TrimSpace(l.line)) > 0 {
			return l.line, nil // err comes again with the next call
		}
		if err != nil {
			return nil, err
		}
	}
}

// Complete tells whether the line that Next returned had its end. The input may end in the middle
// of a line.
func (l *LineReader) Complete() bool { return l.ended }

// read reads one line into l.line.
func (l *LineReader) read() error {
	l.shrink()
	l.line, l.ended = l.line[:0], false
	for length := 0; ; {
		if _, err := l.r.Peek(1); err != nil {
			return err
		}
		chunk, err := l.r.Peek(l.r.Buffered())
		if err != nil {
			return err
		}
		chunk, l.ended = cutLine(chunk)
		length += len(chunk)
		l.keep(chunk)
		if length > LongLine && l.OnLong != nil {
			l.OnLong()
			l.OnLong = nil
		}
		size := len(chunk)
		if l.ended {
			size++
		}
		if _, err := l.r.Discard(size); err != nil {
			return err
		}
		if l.ended {
			return nil
		}
	}
}

// cutLine returns the part of chunk before the first line end, and whether there is one.
func cutLine(chunk []byte) (line []byte, ended bool) {
	if i := bytes.IndexByte(chunk, '\n'); i >= 0 {
		chunk, ended = chunk[:i], true
	}
	if i := bytes.IndexByte(chunk, '\r'); i >= 0 {
		chunk, ended = chunk[:i], true
	}
	return chunk, ended
}

// keep appends chunk to the line, up to the limit.
func (l *LineReader) keep(chunk []byte) {
	if l.Limit > 0 {
		chunk = chunk[:min(len(chunk), max(0, l.Limit-len(l.line)))]
	}
	l.line = append(l.line, chunk...)
}

// shrink drops a large buffer that the last lines did not need.
func (l *LineReader) shrink() {
	if cap(l.line) <= keptBuffer || len(l.line) > cap(l.line)/4 {
		l.short = 0
		return
	}
	if l.short++; l.short >= shortLines {
		l.line, l.short = nil, 0
	}
}
