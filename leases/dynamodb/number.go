package dynamodb

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// maxCounter leaves room to count on: a counter beyond it is damage.
const maxCounter = 1 << 62

var errNumber = errors.New("not a number in range")

// parseDecimal reads what DynamoDB may give back for a number: up to 38 digits,
// perhaps with an exponent. Longer texts never come from the service.
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

// parseSeconds reads seconds since 1970, with up to nine places of a fraction.
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

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

// formatSeconds is the inverse, in the form in which DynamoDB keeps numbers.
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

// formatThroughput writes a number as the KCL does, with Java's
// Double.toString: 0.001 to 10^7 in plain digits, with at least one after the
// point, others with an exponent.
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
	e, _ := strconv.Atoi(exponent) // FormatFloat writes nothing else
	return mantissa + "E" + strconv.Itoa(e)
}
