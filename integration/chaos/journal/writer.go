package journal

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
)

// Writer writes a journal. It is safe for concurrent use.
type Writer struct {
	mu     sync.Mutex // guards the fields below; held during writes, which must not mix
	out    io.WriteCloser
	number int  // of the last batch
	torn   bool // the last line may be cut
	buffer bytes.Buffer
}

// Create makes a journal. The file must not exist.
func Create(path string) (*Writer, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return NewWriter(file), nil
}

// NewWriter returns a Writer that writes to out and closes it. out must not buffer.
func NewWriter(out io.WriteCloser) *Writer { return &Writer{out: out} }

// Acknowledge writes a batch and its confirmation. began is when its processing began. After an
// error the batch does not count, and can be written again.
func (w *Writer) Acknowledge(shard string, began int64, entries []Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	w.begin()
	fmt.Fprintf(&w.buffer, "B %d %s %d %d\n", w.number, shard, began, len(entries))
	for _, e := range entries {
		line := append(append(w.buffer.AvailableBuffer(), e.Sequence...), ' ')
		line = append(strconv.AppendInt(line, e.Sub, 10), ' ')
		line = append(append(line, e.Key...), ' ')
		line = append(strconv.AppendInt(line, int64(e.Counter), 10), '\n')
		w.buffer.Write(line)
	}
	fmt.Fprintf(&w.buffer, "E %d .\n", w.number)
	if err := w.flush(); err != nil {
		return err
	}
	w.begin()
	fmt.Fprintf(&w.buffer, "D %d %d .\n", w.number, Now())
	return w.flush()
}

// begin empties the buffer. After a failed write the next one begins on a new line.
func (w *Writer) begin() {
	w.buffer.Reset()
	if w.torn {
		w.buffer.WriteByte('\n')
	}
}

func (w *Writer) flush() error {
	_, err := w.out.Write(w.buffer.Bytes())
	w.torn = err != nil
	return err
}

// Close closes the file.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Close()
}
