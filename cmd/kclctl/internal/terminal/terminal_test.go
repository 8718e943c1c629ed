package terminal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// open returns a terminal whose input is in, and its outputs.
func open(in io.Reader) (t *Terminal, out, err *bytes.Buffer) {
	out, err = new(bytes.Buffer), new(bytes.Buffer)
	return New(in, out, err), out, err
}

// A value cannot move the cursor, color the text, reverse it or begin a line.
func TestHostileValuesArePrintedAsOneLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		value any
		want  string
	}{
		"plain":            {"grün", "grün"},
		"escape sequence":  {"\x1b[2Jgone", `\x1b[2Jgone`},
		"end of line":      {"a\nlease b is free", `a\nlease b is free`},
		"carriage return":  {"a\rb", `a\rb`},
		"right to left":    {"a\u202eb", `a\u202eb`},
		"not UTF-8":        {"a\xff", "a\ufffd"},
		"joined errors":    {errors.Join(errors.New("a"), errors.New("b\x07")), `a; b\a`},
		"number":           {7, "7"},
		"list of a server": {[]string{"a\nb"}, `[a\nb]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			term, out, err := open(strings.NewReader(""))
			term.Line("first\nvalue %v", c.value)
			term.Note("value %v", c.value)
			require.NoError(t, term.Close())
			require.Equal(t, "first\nvalue "+c.want+"\n", out.String())
			require.Equal(t, "value "+c.want+"\n", err.String())
		})
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows [][]string
		want string
	}{
		"empty":           {nil, ""},
		"heading alone":   {[][]string{{"KEY", "OWNER"}}, "KEY  OWNER\n"},
		"no last cell":    {[][]string{{"KEY", "OWNER"}, {"shard", ""}}, "KEY    OWNER\nshard\n"},
		"hostile cell":    {[][]string{{"KEY", "OWNER"}, {"a\tb\n", "\x1b[m"}}, "KEY     OWNER\na\\tb\\n  \\x1b[m\n"},
		"columns line up": {[][]string{{"a", "b"}, {"long", "c"}}, "a     b\nlong  c\n"},
		"not ASCII":       {[][]string{{"ü", "b"}, {"x", "c"}}, "ü  b\nx  c\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			term, out, _ := open(strings.NewReader(""))
			term.Table(c.rows)
			require.NoError(t, term.Close())
			require.Equal(t, c.want, out.String())
		})
	}
}

func TestJSONIsEscaped(t *testing.T) {
	t.Parallel()
	term, out, _ := open(strings.NewReader(""))
	require.NoError(t, term.JSON(map[string]string{"a": "<\x1b\u202e\U000e0001>"}))
	require.Error(t, term.JSON(func() {}))
	require.NoError(t, term.Close())
	//nolint:testifylint // the escapes and the indentation count, not only the meaning
	require.Equal(t, "{\n  \"a\": \"<\\u001b\\u202e\\udb40\\udc01>\"\n}\n", out.String())
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{
		"yes\n": true, " Y \n": true, "yes": true, "no\n": false, "\n": false, "": false, "yes please\n": false,
	} {
		term, _, err := open(strings.NewReader(answer))
		require.Equal(t, want, term.Confirm(t.Context(), "Delete a\nb?") == nil, "%q", answer)
		require.True(t, strings.HasPrefix(err.String(), `Delete a\nb? Type yes to go on: `))
	}
	in, _ := io.Pipe() // nobody answers
	defer func() { _ = in.Close() }()
	term, _, _ := open(in)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, term.Confirm(ctx, "Delete?"), errNotConfirmed)
}

type closer struct{ closed bool }

func (c *closer) Close() error { c.closed = true; return nil }

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// Output that is lost is an error, and clients are closed all the same.
func TestCloseTellsOfLostOutput(t *testing.T) {
	t.Parallel()
	var client closer
	term := New(strings.NewReader(""), full{}, io.Discard)
	term.CloseAtEnd(&client)
	term.Text("help")
	require.ErrorIs(t, term.Close(), io.ErrShortWrite)
	require.True(t, client.closed)
}
