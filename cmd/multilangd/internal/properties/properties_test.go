package properties

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// TestParse: the wanted properties are those of Properties.load of Java 17.
func TestParse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want []Property
	}{
		"empty":         {"", nil},
		"equals":        {"a=b", []Property{{"a", "b", 1}}},
		"blanksAround":  {" \t\fa \t=\f b c ", []Property{{"a", "b c ", 1}}},
		"colon":         {"a:b", []Property{{"a", "b", 1}}},
		"blank":         {"a b = c", []Property{{"a", "b = c", 1}}},
		"twoSeparators": {"a = = b", []Property{{"a", "= b", 1}}},
		"noValue":       {"a\nb=", []Property{{"a", "", 1}, {"b", "", 2}}},
		"noKey":         {"=b", []Property{{"", "b", 1}}},
		"comments":      {"# a=1\n! b=2\n  #c=3\nd=#4", []Property{{"d", "#4", 4}}},
		"lineEnds": {
			"a=1\rb=2\r\nc=3\n\n\r\nd=4", []Property{{"a", "1", 1}, {"b", "2", 2}, {"c", "3", 3}, {"d", "4", 6}},
		},
		"continued":       {"a=b\\\n  c\\\r\n\td\ne=f", []Property{{"a", "bcd", 1}, {"e", "f", 4}}},
		"continuedBlank":  {"a=b\\\n\nc=d", []Property{{"a", "b", 1}, {"c", "d", 3}}},
		"noCommentInside": {"a=b\\\n#c", []Property{{"a", "b#c", 1}}},
		"commentNotLong":  {"#a\\\nb=c", []Property{{"b", "c", 2}}},
		"backslashes":     {"a=b\\\\\nc=d\\\\\\\n e", []Property{{"a", `b\`, 1}, {"c", `d\e`, 2}}},
		"continuedKey":    {"a\\\n b=c", []Property{{"ab", "c", 1}}},
		"continuedToEnd":  {"a=b\\", []Property{{"a", "b", 1}}},
		"onlyBackslash":   {"a=b\n\\\nc=d", []Property{{"a", "b", 1}, {"c", "d", 2}}},
		"escapedKey":      {`a\ b\=c\:d=e`, []Property{{"a b=c:d", "e", 1}}},
		"escapes":         {`a=\t\n\r\f\q\\\"`, []Property{{"a", "\t\n\r\fq\\\"", 1}}},
		"unicode":         {`\u0061=\u20AC\u00e4\uD83D\uDE00`, []Property{{"a", "€ä😀", 1}}},
		"latin1":          {"a=\xe4", []Property{{"a", "ä", 1}}},
		"readAsLatin1":    {"a=ä", []Property{{"a", "Ã¤", 1}}},
		"given twice":     {"a=1\nb=2\na=3", []Property{{"a", "3", 3}, {"b", "2", 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := Parse("app.properties", []byte(tc.text))
			require.NoError(t, err)
			require.Equal(t, tc.want, f.Properties)
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	f, err := Parse("app.properties", []byte("a=1\nb=\xe4\nc=ä\na=2"))
	require.NoError(t, err)
	require.Equal(t, []string{
		`app.properties:2: byte 0xE4 is read as the character 'ä' of ISO 8859-1, as in Java: write it as \uXXXX`,
		`app.properties:3: byte 0xC3 is read as the character 'Ã' of ISO 8859-1, as in Java: ` +
			`the line looks like UTF-8, in which the character has several bytes: write it as \uXXXX`,
		"app.properties:4: a is given again: line 1 has no effect",
	}, f.Warnings)
	for _, ascii := range []string{"a=1\n# grüße\nb=2", `a=\u00e4`} {
		f, err = Parse("app.properties", []byte(ascii))
		require.NoError(t, err)
		require.Empty(t, f.Warnings, ascii)
	}
}

// TestMalformedEscapes: all of them are named, and the rest of the file is read.
func TestMalformedEscapes(t *testing.T) {
	t.Parallel()
	f, err := Parse("app.properties", []byte("a=\\u12\nexecutableName=C:\\users\\me\nb=\\uxyzw\nc=1"))
	require.ErrorContains(t, err, `app.properties:1: malformed escape \u12: give four hexadecimal digits`)
	require.ErrorContains(t, err, `app.properties:2: malformed escape \users: `)
	require.ErrorContains(t, err, `or write \\ for a backslash`)
	require.ErrorContains(t, err, `app.properties:3: malformed escape \uxyzw`)
	require.Equal(t, []Property{{"c", "1", 4}}, f.Properties)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "app.properties")
	require.NoError(t, os.WriteFile(file, []byte("a=1"), 0o600))
	f, err := Load(file)
	require.NoError(t, err)
	require.Equal(t, &File{Name: file, Properties: []Property{{"a", "1", 1}}}, f)

	_, err = Load(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Load(dir)
	require.ErrorContains(t, err, "is a folder")
	require.NoError(t, os.WriteFile(file, make([]byte, maxSize+1), 0o600))
	_, err = Load(file)
	require.ErrorContains(t, err, "has 1048577 bytes, more than 1048576")
}

// FuzzParse: a property that is written with escapes is read again, with its line.
func FuzzParse(f *testing.F) {
	f.Add("a", "b", "# c\n\\")
	f.Add("a b=:#!", " \t\n\\\r\f", "x=\\u00e4\\\n y")
	f.Add("é€", "😀", "\xff\\u12")
	f.Fuzz(func(t *testing.T, key, value, text string) {
		before, err := Parse("fuzz", []byte(text))
		last := 0
		for _, p := range before.Properties {
			require.True(t, utf8.ValidString(p.Key) && utf8.ValidString(p.Value))
			require.Positive(t, p.Line)
			last = max(last, p.Line)
		}
		require.LessOrEqual(t, last, strings.Count(text, "\n")+strings.Count(text, "\r")+1)
		if err != nil || !utf8.ValidString(key) || !utf8.ValidString(value) {
			return
		}
		written := []byte(escape(key) + "=" + escape(value) + "\n")
		got, err := Parse("fuzz", append(written, text...))
		require.NoError(t, err)
		require.NotEmpty(t, got.Properties)
		again := false
		for _, p := range before.Properties {
			again = again || p.Key == key
		}
		if !again {
			require.Equal(t, Property{Key: key, Value: value, Line: 1}, got.Properties[0])
		}
	})
}

// escape writes each character as a backslash escape or as \uXXXX.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < utf8.RuneSelf && (r < 'a' || r > 'z'):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := (r-0x10000)>>10+0xD800, (r-0x10000)&0x3FF+0xDC00
			writeUnit(&b, high)
			writeUnit(&b, low)
		default:
			writeUnit(&b, r)
		}
	}
	return b.String()
}

func writeUnit(b *strings.Builder, unit rune) {
	const digits = "0123456789abcdef"
	b.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		b.WriteByte(digits[unit>>shift&15])
	}
}
