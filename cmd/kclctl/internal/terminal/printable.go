package terminal

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// oneLineEach makes one line of every argument of a format. An error that joins several has a
// line for each: these become parts of one sentence.
func oneLineEach(args []any) []any {
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

// oneLine makes s printable, and escapes its ends of lines.
func oneLine(s string) string {
	return strings.ReplaceAll(printable(s), "\n", `\n`)
}

// printable replaces each character that is not printable by its Go escape. Ends of lines stay.
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

// escapeJSON replaces each character that is not printable by its JSON escape.
func escapeJSON(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			r1, r2 := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, r1, r2)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
