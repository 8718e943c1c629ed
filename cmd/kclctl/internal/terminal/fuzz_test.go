package terminal

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzPrintable: foreign text moves no cursor of a terminal and begins no line. In JSON it stays
// the same text.
func FuzzPrintable(f *testing.F) {
	f.Add("plain\n")
	f.Add("\x1b[2J\r\x00\xff\u202e\U000e0001\\\"\u00a0")
	f.Fuzz(func(t *testing.T, s string) {
		special := func(r rune) bool { return !unicode.IsPrint(r) }
		if out := oneLine(s); strings.ContainsFunc(out, special) || !utf8.ValidString(out) {
			t.Fatalf("%q", out)
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		escaped := escapeJSON(string(text))
		var before, after string
		if err := json.Unmarshal(text, &before); err != nil {
			t.Fatal(err)
		}
		err = json.Unmarshal([]byte(escaped), &after)
		if err != nil || before != after || strings.ContainsFunc(escaped, special) {
			t.Fatalf("%q becomes %q: %v", text, escaped, err)
		}
	})
}
