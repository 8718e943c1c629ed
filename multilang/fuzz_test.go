package multilang

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzEscape: the text of a child stays on its line of the log, moves no cursor, and is bounded.
func FuzzEscape(f *testing.F) {
	f.Add([]byte("plain"), 80)
	f.Add([]byte("\x1b[2J\r\n\x00\xff\u202e\\\""), 7)
	f.Fuzz(func(t *testing.T, text []byte, limit int) {
		limit = int(uint(limit) % 256)
		out := escape(text, limit)
		control := func(r rune) bool { return r < ' ' || (r >= 0x7f && r < 0xa0) || r == '\u2028' || r == '\u202e' }
		if !utf8.ValidString(out) || strings.ContainsFunc(out, control) || len(out) > 10*limit+40 {
			t.Fatalf("%q", out)
		}
	})
}
