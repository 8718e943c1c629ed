package dynamodb

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// maxCounter is the largest counter. A larger one is damage. A counter can grow beyond it without
// an overflow.
const maxCounter = 1 << 62

var errNumber = errors.New("not a number in range")

// parseDecimal reads a number of DynamoDB: up to 38 digits, and sometimes an exponent. The service
// sends no longer text.
func parseDecimal(s string) (*big.Rat, error) {
	if len(s) > 160 || strings.ContainsAny(s, "/_xXpP") {
		return nil, errNumber
	}
	if _, exponent, ok := strings.Cut(strings.ToLower(s), "e"); ok {
		if e, err := strconv.Atoi(exponent); err != nil || e < -130 || e > 130 {
			return nil, errNumber
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, errNumber
	}
	return r, nil
}

// parseInt reads a whole number from 0 to limit.
func parseInt(s string, limit int64) (int64, error) {
	r, err := parseDecimal(s)
	if err != nil || !r.IsInt() || !r.Num().IsInt64() || r.Sign() < 0 || r.Num().Int64() > limit {
		return 0, fmt.Errorf("want a whole number from 0 to %d", limit)
	}
	return r.Num().Int64(), nil
}

// parseSeconds reads seconds since 1970, with up to nine digits of a fraction.
func parseSeconds(s string) (time.Time, error) {
	bad := errors.New("want seconds since 1970")
	r, err := parseDecimal(s)
	if err != nil || r.Sign() < 0 {
		return time.Time{}, bad
	}
	nanos := r.Mul(r, big.NewRat(int64(time.Second), 1))
	seconds, rest := new(big.Int).QuoRem(nanos.Num(), big.NewInt(int64(time.Second)), new(big.Int))
	if !nanos.IsInt() || !seconds.IsInt64() || seconds.Int64() > maxSeconds {
		return time.Time{}, bad
	}
	return time.Unix(seconds.Int64(), rest.Int64()).UTC(), nil
}

// maxSeconds is the last second of the year 9999.
const maxSeconds = 253402300799

// formatSeconds is the inverse of parseSeconds. The result has the form in which DynamoDB returns
// numbers.
func formatSeconds(t time.Time) (string, error) {
	if t.Unix() < 0 || t.Unix() > maxSeconds {
		return "", fmt.Errorf("time %v is not between 1970 and 9999", t)
	}
	s := strconv.FormatInt(t.Unix(), 10)
	if n := t.Nanosecond(); n != 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%09d", n), "0")
	}
	return s, nil
}

// formatThroughput formats a number as the KCL does, with Java's Double.toString. Numbers from
// 0.001 to 10^7 are plain digits, with at least one digit after the point. Other numbers have an
// exponent.
func formatThroughput(f float64) string {
	if f == 0 || f >= 1e-3 && f < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	e, _ := strconv.Atoi(exponent) // FormatFloat always writes a number here
	return mantissa + "E" + strconv.Itoa(e)
}
