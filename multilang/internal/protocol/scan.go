package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep arrays and objects of unknown fields may be nested, as Jackson does.
const maxDepth = 1000

// scanner reads JSON from a line without an allocation. It removes the escapes of strings in
// place, so it changes the line. It accepts control characters in strings, which JSON forbids.
type scanner struct {
	line []byte
	at   int // the next byte
}

// errNotJSON is wrapped by the errors about the syntax of a line.
var errNotJSON = errors.New("not JSON")

func (s *scanner) fail() error { return fmt.Errorf("%w at byte %d", errNotJSON, s.at+1) }

// peek returns the next byte that is no blank, or 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.line); s.at++ {
		switch c := s.line[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take reads the byte c, after blanks.
func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.at >= len(s.line) {
		return false
	}
	s.at++
	return true
}

// word reads the bytes of w.
func (s *scanner) word(w string) error {
	if !bytes.HasPrefix(s.line[s.at:], []byte(w)) {
		return s.fail()
	}
	s.at += len(w)
	return nil
}

// null reads null, if that is the next value.
func (s *scanner) null() (bool, error) {
	if s.peek() != 'n' {
		return false, nil
	}
	return true, s.word("null")
}

// object reads an object. It calls value for each field, to read the field's value.
func (s *scanner) object(value func(name []byte) error) error {
	if !s.take('{') {
		return s.fail()
	}
	if s.take('}') {
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.fail()
		}
		name, err := s.quoted()
		if err != nil {
			return err
		}
		if !s.take(':') {
			return s.fail()
		}
		if err := value(name); err != nil {
			return err
		}
		if s.take('}') {
			return nil
		}
		if !s.take(',') {
			return s.fail()
		}
	}
}

// array reads an array. It calls value to read each item.
func (s *scanner) array(value func() error) error {
	if !s.take('[') {
		return s.fail()
	}
	if s.take(']') {
		return nil
	}
	for {
		if err := value(); err != nil {
			return err
		}
		if s.take(']') {
			return nil
		}
		if !s.take(',') {
			return s.fail()
		}
	}
}

// text reads a string or null. The bytes are part of the line.
func (s *scanner) text() (text []byte, ok bool, err error) {
	if null, err := s.null(); null || err != nil {
		return nil, false, err
	}
	if s.peek() != '"' {
		return nil, false, s.fail()
	}
	text, err = s.quoted()
	return text, err == nil, err
}

// quoted reads a string. The caller has seen its first quotation mark.
func (s *scanner) quoted() ([]byte, error) {
	s.at++
	start := s.at
	rest := s.line[start:]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		s.at = len(s.line)
		return nil, s.fail()
	}
	escape := bytes.IndexByte(rest[:end], '\\')
	if escape < 0 {
		s.at += end + 1
		return rest[:end:end], nil
	}
	s.at += escape
	return s.unescape(start)
}

// unescape reads the rest of a string that began at start, from its first escape on. It writes the
// characters over the escapes, which are never shorter.
func (s *scanner) unescape(start int) ([]byte, error) {
	out := s.line[start:s.at]
	for s.at < len(s.line) {
		c := s.line[s.at]
		switch {
		case c == '"':
			s.at++
			return out[:len(out):len(out)], nil
		case c != '\\':
			out = append(out, c)
			s.at++
		case s.at+1 < len(s.line) && s.line[s.at+1] == 'u':
			r, err := s.escapedRune()
			if err != nil {
				return nil, err
			}
			out = utf8.AppendRune(out, r)
		default:
			if s.at+1 >= len(s.line) {
				return nil, s.fail()
			}
			short := bytes.IndexByte([]byte(`"\/bfnrt`), s.line[s.at+1])
			if short < 0 {
				return nil, s.fail()
			}
			out = append(out, "\"\\/\b\f\n\r\t"[short])
			s.at += 2
		}
	}
	return nil, s.fail()
}

// escapedRune reads the character of one \uXXXX, or of two that are a surrogate pair. Half a pair
// becomes U+FFFD.
func (s *scanner) escapedRune() (rune, error) {
	r, err := s.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	before := s.at
	if bytes.HasPrefix(s.line[s.at:], []byte(`\u`)) {
		low, err := s.hex4()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
		s.at = before // the second one stands for itself
	}
	return utf8.RuneError, nil
}

// hex4 reads \uXXXX.
func (s *scanner) hex4() (rune, error) {
	if s.at+6 > len(s.line) {
		return 0, s.fail()
	}
	var r rune
	for _, c := range s.line[s.at+2 : s.at+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.fail()
		}
		r = r<<4 | rune(c)
	}
	s.at += 6
	return r, nil
}

// number reads the text of a number.
func (s *scanner) number() ([]byte, error) {
	s.peek()
	start := s.at
	s.skipByte("-")
	switch {
	case s.skipByte("0"):
	case s.skipDigits():
	default:
		return nil, s.fail()
	}
	if s.skipByte(".") && !s.skipDigits() {
		return nil, s.fail()
	}
	if s.skipByte("eE") {
		s.skipByte("+-")
		if !s.skipDigits() {
			return nil, s.fail()
		}
	}
	return s.line[start:s.at], nil
}

// skipByte reads one of the bytes in set, if it comes next.
func (s *scanner) skipByte(set string) bool {
	for i := range len(set) {
		if s.at < len(s.line) && s.line[s.at] == set[i] {
			s.at++
			return true
		}
	}
	return false
}

func (s *scanner) skipDigits() bool {
	start := s.at
	for s.at < len(s.line) && '0' <= s.line[s.at] && s.line[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}

// integer reads a whole number of 64 bits, or null.
func (s *scanner) integer() (n int64, ok bool, err error) {
	if null, err := s.null(); null || err != nil {
		return 0, false, err
	}
	text, err := s.number()
	if err != nil {
		return 0, false, err
	}
	n, err = strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("%.40q is not a whole number of 64 bits", text)
	}
	return n, true, nil
}

// skip reads any value.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("values are nested more than %d deep", maxDepth)
	}
	switch s.peek() {
	case '{':
		return s.object(func([]byte) error { return s.skip(depth + 1) })
	case '[':
		return s.array(func() error { return s.skip(depth + 1) })
	case '"':
		_, err := s.quoted()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	_, err := s.number()
	return err
}
