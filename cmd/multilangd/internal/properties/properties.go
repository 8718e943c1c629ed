// Package properties reads files in the form of java.util.Properties. The MultiLangDaemon of the
// KCL loads its file from an InputStream, so each byte is a character of ISO 8859-1. Package
// settings gives the properties their meaning.
package properties

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxSize bounds the size of a file in bytes.
const maxSize = 1 << 20

// Property is one key with its value, both without escapes.
type Property struct {
	Key, Value string
	// Line is the number of the first line of the property, from 1.
	Line int
}

// File is what [Parse] has read.
type File struct {
	// Name is the name of the file, as errors show it.
	Name string
	// Properties are in the order of the file, each key once. Of a key that is given several times the
	// last property counts, as in Java.
	Properties []Property
	// Warnings name the parts that Java reads in silence and that are hardly meant: keys that are
	// given twice, and characters outside ASCII.
	Warnings []string
}

// Load reads and parses a file of at most 1 MiB.
func Load(name string) (*File, error) {
	name = filepath.Clean(name)
	switch info, err := os.Stat(name); {
	case err != nil:
		return nil, fmt.Errorf("read the properties file: %w", err)
	case info.IsDir():
		return nil, fmt.Errorf("read the properties file: %s is a folder", name)
	case info.Size() > maxSize:
		return nil, fmt.Errorf("read the properties file: %s has %d bytes, more than %d", name, info.Size(), maxSize)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the properties file: %w", err)
	}
	return Parse(name, text)
}

// Parse reads text as java.util.Properties.load(InputStream) does. The error has all malformed
// escapes, each with the file and the line.
func Parse(name string, text []byte) (*File, error) {
	f := &File{Name: name}
	at := map[string]int{} // index in f.Properties
	var errs []error
	lines := lineReader{text: text, line: 1}
	for {
		line, number, ok := lines.next()
		if !ok {
			break
		}
		f.warnEncoding(line, number)
		rawKey, rawValue := split(line)
		key, err := unescape(rawKey)
		value, err2 := unescape(rawValue)
		if err := errors.Join(err, err2); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, number, err))
			continue
		}
		p := Property{Key: key, Value: value, Line: number}
		if i, ok := at[key]; ok {
			f.Warnings = append(f.Warnings, fmt.Sprintf("%s:%d: %s is given again: line %d has no effect",
				name, number, key, f.Properties[i].Line))
			f.Properties[i] = p
			continue
		}
		at[key] = len(f.Properties)
		f.Properties = append(f.Properties, p)
	}
	return f, errors.Join(errs...)
}

// warnEncoding reports the first byte above 127 of a line.
func (f *File) warnEncoding(line []byte, number int) {
	for _, b := range line {
		if b < utf8.RuneSelf {
			continue
		}
		hint := ""
		if utf8.Valid(line) {
			hint = ": the line looks like UTF-8, in which the character has several bytes"
		}
		f.Warnings = append(f.Warnings, fmt.Sprintf(
			"%s:%d: byte 0x%X is read as the character %q of ISO 8859-1, as in Java%s: write it as \\uXXXX",
			f.Name, number, b, rune(b), hint))
		return
	}
}

// lineReader divides a text into logical lines. A logical line ends at a line end that no backslash
// precedes.
type lineReader struct {
	text []byte
	line int // number of the natural line at the beginning of text
}

// next returns the next logical line that is neither blank nor a comment, without the backslashes
// before line ends. number is that of its first natural line.
func (r *lineReader) next() (line []byte, number int, ok bool) {
	for len(r.text) > 0 {
		number = r.line
		line = line[:0]
		continued := true
		for continued && (len(r.text) > 0 || len(line) > 0) {
			var natural []byte
			var ended bool
			natural, ended = r.natural()
			natural = trimBlanks(natural)
			if len(line) == 0 && len(natural) > 0 && (natural[0] == '#' || natural[0] == '!') {
				break
			}
			continued = endsInBackslash(natural)
			if continued {
				natural = natural[:len(natural)-1]
			}
			line = append(line, natural...)
			continued = continued && ended
		}
		if len(line) > 0 {
			return line, number, true
		}
	}
	return nil, 0, false
}

// natural takes the text up to the next line end. ended is false if the text ends first.
func (r *lineReader) natural() (line []byte, ended bool) {
	for i, b := range r.text {
		if b != '\n' && b != '\r' {
			continue
		}
		line, r.text = r.text[:i], r.text[i+1:]
		if b == '\r' && len(r.text) > 0 && r.text[0] == '\n' {
			r.text = r.text[1:]
		}
		r.line++
		return line, true
	}
	line, r.text = r.text, nil
	return line, false
}

// isBlank tells whether b separates words in such a file.
func isBlank(b byte) bool { return b == ' ' || b == '\t' || b == '\f' }

func trimBlanks(line []byte) []byte {
	for len(line) > 0 && isBlank(line[0]) {
		line = line[1:]
	}
	return line
}

// endsInBackslash tells whether an odd number of backslashes ends the line.
func endsInBackslash(line []byte) bool {
	n := 0
	for n < len(line) && line[len(line)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// split divides a logical line at the first equals sign, colon or blank without a backslash.
func split(line []byte) (key, value []byte) {
	end, escaped := 0, false
	for end < len(line) {
		b := line[end]
		if !escaped && (b == '=' || b == ':' || isBlank(b)) {
			break
		}
		escaped = b == '\\' && !escaped
		end++
	}
	key, value = line[:end], trimBlanks(line[end:])
	if len(value) > 0 && (value[0] == '=' || value[0] == ':') {
		value = trimBlanks(value[1:])
	}
	return key, value
}

// unescape returns the characters that a key or a value means. It keeps UTF-16, in which Java
// writes a character above U+FFFF as two escapes.
func unescape(raw []byte) (string, error) {
	var units []uint16
	for len(raw) > 0 {
		b := raw[0]
		raw = raw[1:]
		if b != '\\' || len(raw) == 0 {
			units = append(units, uint16(b))
			continue
		}
		b, raw = raw[0], raw[1:]
		switch b {
		case 't':
			b = '\t'
		case 'n':
			b = '\n'
		case 'r':
			b = '\r'
		case 'f':
			b = '\f'
		case 'u':
			unit, ok := hex4(raw)
			if !ok {
				shown := string(raw[:min(4, len(raw))])
				return "", fmt.Errorf(`malformed escape %s: give four hexadecimal digits, or write \\ for a backslash`,
					`\u`+strings.ToValidUTF8(shown, "?"))
			}
			units, raw = append(units, unit), raw[4:]
			continue
		}
		units = append(units, uint16(b))
	}
	return string(utf16.Decode(units)), nil
}

// hex4 reads four hexadecimal digits.
func hex4(raw []byte) (unit uint16, ok bool) {
	if len(raw) < 4 {
		return 0, false
	}
	for _, b := range raw[:4] {
		unit <<= 4
		switch {
		case '0' <= b && b <= '9':
			unit |= uint16(b - '0')
		case 'a' <= b && b <= 'f':
			unit |= uint16(b - 'a' + 10)
		case 'A' <= b && b <= 'F':
			unit |= uint16(b - 'A' + 10)
		default:
			return 0, false
		}
	}
	return unit, true
}
