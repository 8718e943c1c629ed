package settings

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/multilangd/internal/credentials"
)

// value is a kind of values: how they are written, read and applied.
type value struct {
	// form says how a value is written, for the document.
	form string
	// read checks a text and puts its meaning into the draft. zero says that the value is 0 or false,
	// which Java takes for a key that is not given, unless the key is boxed. The error says what to
	// write instead. With zero it counts for a boxed key only.
	read func(d *draft, text string) (zero bool, err error)
}

// integer is a whole number from least to most.
func integer(least, most int64, set func(d *draft, n int64)) value {
	form := fmt.Sprintf("a number from %d to %d", least, most)
	if most == math.MaxInt32 {
		form = fmt.Sprintf("a number from %d", least)
	}
	return value{form: form, read: func(d *draft, text string) (bool, error) {
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			return false, fmt.Errorf("is not a whole number: use %s", form)
		case n < least || n > most:
			return n == 0, fmt.Errorf("is out of bounds: use %s", form)
		}
		if set != nil {
			set(d, n)
		}
		return n == 0, nil
	}}
}

// millis is a time in milliseconds, at least least.
func millis(least time.Duration, set func(d *draft, t time.Duration)) value {
	const most = 365 * 24 * time.Hour
	v := integer(least.Milliseconds(), most.Milliseconds(), func(d *draft, n int64) {
		if set != nil {
			set(d, time.Duration(n)*time.Millisecond)
		}
	})
	v.form = fmt.Sprintf("ms, from %d", least.Milliseconds())
	return v
}

// number is a number that may have a fraction and is not negative.
func number(set func(d *draft, n float64)) value {
	return value{form: "a number from 0", read: func(d *draft, text string) (bool, error) {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n >= 0) || math.IsInf(n, 0) {
			return false, errors.New("is not a number from 0: use one such as 1500.5")
		}
		if set != nil && n != 0 {
			set(d, n)
		}
		return n == 0, nil
	}}
}

// booleans are the words for true and false that Java's BooleanConverter knows.
var booleans = map[string]bool{
	"true": true, "yes": true, "y": true, "on": true, "1": true,
	"false": false, "no": false, "n": false, "off": false, "0": false,
}

// boolean is true or false.
func boolean(set func(d *draft, b bool)) value {
	return value{form: "true, false", read: func(d *draft, text string) (bool, error) {
		b, ok := booleans[strings.ToLower(text)]
		if !ok {
			return false, errors.New("is neither true nor false: use one of them")
		}
		if set != nil {
			set(d, b)
		}
		return !b, nil
	}}
}

// choice is one of several words. Upper and lower case do not matter.
func choice(set func(d *draft, word string), words ...string) value {
	form := strings.Join(words, ", ")
	return value{form: form, read: func(d *draft, text string) (bool, error) {
		i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, text) })
		if i < 0 {
			return false, fmt.Errorf("is not known: use one of %s", form)
		}
		if set != nil {
			set(d, words[i])
		}
		return false, nil
	}}
}

// text is any text that check accepts. An empty text is a mistake.
func text(form string, check func(text string) error, set func(d *draft, text string)) value {
	return value{form: form, read: func(d *draft, text string) (bool, error) {
		if text == "" {
			return false, fmt.Errorf("has no value: give %s, or leave the key out", form)
		}
		if check != nil {
			if err := check(text); err != nil {
				return false, err
			}
		}
		if set != nil {
			set(d, text)
		}
		return false, nil
	}}
}

// list is one or more texts with commas between them, without a text that is given twice.
func list(form string, check func(text string) error, set func(d *draft, texts []string)) value {
	return value{form: form, read: func(d *draft, text string) (bool, error) {
		var found []string
		seen := map[string]bool{}
		for part := range strings.SplitSeq(text, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			if seen[part] {
				return false, fmt.Errorf("names %s twice: name each one once", shown(part))
			}
			if err := check(part); err != nil {
				return false, fmt.Errorf("%s %w", shown(part), err)
			}
			seen[part] = true
			found = append(found, part)
		}
		if len(found) == 0 {
			return false, fmt.Errorf("has no value: give %s, or leave the key out", form)
		}
		set(d, found)
		return false, nil
	}}
}

// any accepts every value of a key without effect, even an empty one.
func anyValue(form string) value {
	return value{form: form, read: func(*draft, string) (bool, error) { return false, nil }}
}

func providers(set func(d *draft, c credentials.Chain)) value {
	return value{form: "providers with commas between them", read: func(d *draft, text string) (bool, error) {
		c, err := credentials.Parse(text)
		if err != nil {
			return false, err
		}
		set(d, c)
		return false, nil
	}}
}

func validName(text string) error {
	if !kcl.ValidStreamName(text) {
		return errors.New("is not a name: use 1 to 128 letters, digits, underscores, dots and hyphens")
	}
	return nil
}

func validWorker(text string) error {
	if strings.ContainsFunc(text, unicode.IsControl) {
		return errors.New("has a control character: leave it out")
	}
	return nil
}

func validStreamARN(text string) error {
	_, err := kcl.ParseStreamARN(text)
	return err
}

func validConsumerARN(text string) error {
	_, _, err := kcl.ParseConsumerARN(text)
	return err
}

func validURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("is not a URL: use one such as http://127.0.0.1:4567, or leave the key out for AWS")
	}
	return nil
}

func validRegion(text string) error {
	valid := text != ""
	for _, c := range text {
		valid = valid && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !valid {
		return errors.New("is not a region: use one such as us-east-1")
	}
	return nil
}
