package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"
)

// terminal is where a command reads and writes. Whatever comes out of a row or from
// a server is made printable here, and kept to its line: it may hold what moves a
// terminal's cursor, and lines that look as if they were this tool's.
type terminal struct {
	in  *bufio.Reader
	out *bufio.Writer
	err io.Writer
	// closers are closed when the command has ended.
	closers []io.Closer
}

// line prints to standard output. Only format can begin another line.
func (t *terminal) line(format string, args ...any) {
	_, _ = fmt.Fprintln(t.out, printable(fmt.Sprintf(format, inline(args)...)))
}

// note prints to standard error. Only format can begin another line.
func (t *terminal) note(format string, args ...any) {
	_ = t.out.Flush()
	_, _ = fmt.Fprintln(t.err, printable(fmt.Sprintf(format, inline(args)...)))
}

// text prints what stands in this program, such as a help, to standard output.
func (t *terminal) text(s string) { _, _ = fmt.Fprintln(t.out, s) }

// table prints rows in columns; the first is the heading.
func (t *terminal) table(rows [][]string) {
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

// json prints v for programs.
func (t *terminal) json(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode as JSON: %w", err)
	}
	for _, r := range b.String() {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			_, _ = t.out.WriteRune(r)
		case r > 0xffff:
			r1, r2 := utf16.EncodeRune(r)
			_, _ = fmt.Fprintf(t.out, `\u%04x\u%04x`, r1, r2)
		default:
			_, _ = fmt.Fprintf(t.out, `\u%04x`, r)
		}
	}
	return nil
}

// inline makes one line of every argument. Lines of an error become parts of a
// sentence: several errors in one have a line each.
func inline(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case error:
			out[i] = oneLine(strings.ReplaceAll(a.Error(), "\n", "; "))
		case fmt.Stringer:
			out[i] = oneLine(a.String())
		case string:
			out[i] = oneLine(a)
		case int, bool:
			out[i] = a
		default:
			out[i] = oneLine(fmt.Sprint(a))
		}
	}
	return out
}

// oneLine is printable without an end of line.
func oneLine(s string) string {
	return strings.ReplaceAll(printable(s), "\n", `\n`)
}

// printable replaces what is not printable by its Go escape; lines stay.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == '\n' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRune(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

// errNotConfirmed is the answer to a question that was not answered with yes.
var errNotConfirmed = errors.New("not confirmed, nothing was changed; answer yes, or give -yes")

// confirm asks on standard error.
func (t *terminal) confirm(ctx context.Context, question string) error {
	_ = t.out.Flush()
	_, _ = fmt.Fprintf(t.err, "%s Type yes to go on: ", oneLine(question))
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() { // ends with a line, or with the process: reading a terminal cannot be cancelled
		s, err := t.in.ReadString('\n')
		got <- answer{s, err}
	}()
	select {
	case a := <-got:
		if text := strings.ToLower(strings.TrimSpace(a.text)); text == "yes" || text == "y" {
			return nil
		}
		_, _ = fmt.Fprintln(t.err)
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return fmt.Errorf("%w: %w", errNotConfirmed, a.err)
		}
		return errNotConfirmed
	case <-ctx.Done():
		_, _ = fmt.Fprintln(t.err)
		return errNotConfirmed
	}
}
