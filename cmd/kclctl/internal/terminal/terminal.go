// Package terminal prints the results of kclctl, and asks for confirmation.
//
// It makes every value printable, and keeps the value to its line. A value from a row or a server
// may hold escape sequences for a terminal, or lines that look like lines of kclctl.
package terminal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lmittmann/tint"
)

// ErrReported is the error of a command that has printed why it failed.
var ErrReported = errors.New("reported")

// Terminal is the standard input, output and error of one command. It is for one goroutine.
type Terminal struct {
	in      *bufio.Reader
	out     *bufio.Writer
	err     io.Writer
	closers []io.Closer
}

// New returns a terminal. Close must be called at the end.
func New(in io.Reader, out, err io.Writer) *Terminal {
	return &Terminal{in: bufio.NewReader(in), out: bufio.NewWriter(out), err: err}
}

// CloseAtEnd hands over a client that Close closes.
func (t *Terminal) CloseAtEnd(c io.Closer) { t.closers = append(t.closers, c) }

// Close closes the clients of CloseAtEnd, and writes the buffered lines. It returns an error if
// standard output cannot be written. Note still works afterwards.
func (t *Terminal) Close() error {
	for _, c := range t.closers {
		_ = c.Close()
	}
	if err := t.out.Flush(); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

// Line prints to standard output. A new line begins only at an end of line in format.
func (t *Terminal) Line(format string, args ...any) {
	_, _ = fmt.Fprintln(t.out, printable(fmt.Sprintf(format, oneLineEach(args)...)))
}

// Note prints to standard error. A new line begins only at an end of line in format.
func (t *Terminal) Note(format string, args ...any) {
	_ = t.out.Flush()
	_, _ = fmt.Fprintln(t.err, printable(fmt.Sprintf(format, oneLineEach(args)...)))
}

// Text prints a text of this program, such as a help, to standard output as it is.
func (t *Terminal) Text(s string) { _, _ = fmt.Fprintln(t.out, s) }

// Table prints rows in columns to standard output. The first row is the heading.
func (t *Terminal) Table(rows [][]string) {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = oneLine(cell)
		}
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush()
	for l := range strings.Lines(text.String()) {
		_, _ = fmt.Fprintln(t.out, strings.TrimRight(l, " \n"))
	}
}

// JSON prints v to standard output, indented. Characters that are not printable are escaped.
func (t *Terminal) JSON(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode as JSON: %w", err)
	}
	_, _ = t.out.WriteString(escapeJSON(b.String()))
	return nil
}

// Logger writes warnings to standard error.
func (t *Terminal) Logger() *slog.Logger {
	return slog.New(tint.NewTextHandler(t.err, &tint.Options{
		Level: slog.LevelWarn, TimeFormat: time.TimeOnly, NoColor: !hasColor(t.err),
	}))
}

// hasColor tells whether w is a terminal that shows colors.
func hasColor(w any) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
