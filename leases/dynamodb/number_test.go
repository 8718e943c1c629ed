package dynamodb

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNumbers(t *testing.T) {
	t.Parallel()
	// As Java's Double.toString writes them.
	for f, want := range map[float64]string{
		0.00001: "1.0E-5", 12345678.9: "1.23456789E7", 100: "100.0", 10000000: "1.0E7", 0.001: "0.001", 0: "0.0",
		0.001267: "0.001267", 0.000219: "2.19E-4", 9999999.5: "9999999.5",
	} {
		require.Equal(t, want, formatThroughput(f))
	}
	for s, want := range map[string]int64{"7": 7, "7.0": 7, "7E0": 7, "1E+3": 1000, "0.5E1": 5, "0": 0, "-0": 0} {
		n, err := parseInt(s, 1000)
		require.NoError(t, err, s)
		require.Equal(t, want, n, s)
	}
	for _, s := range []string{
		"", "x", "1/2", "0x10", "1_000", "1001", "-1", "1E999999999", "1E-999999999", "Inf", "NaN",
		strings.Repeat("1", 200),
	} {
		_, err := parseInt(s, 1000)
		require.Error(t, err, s)
	}
	for s, want := range map[string]time.Time{
		"1700000000":            time.Unix(1700000000, 0).UTC(),
		"1700000000.123456789":  time.Unix(1700000000, 123456789).UTC(),
		"1.7E9":                 time.Unix(1700000000, 0).UTC(),
		"253402300799.999":      time.Unix(253402300799, 999000000).UTC(),
		"0":                     time.Unix(0, 0).UTC(),
		"0.001":                 time.UnixMilli(1).UTC(),
		"1700000000.1000000000": time.Unix(1700000000, 100000000).UTC(),
	} {
		got, err := parseSeconds(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
		text, err := formatSeconds(got)
		require.NoError(t, err)
		again, err := parseSeconds(text)
		require.NoError(t, err)
		require.Equal(t, want, again)
	}
	for _, s := range []string{"", "-1", "253402300800", "1.0000000001", "x"} {
		_, err := parseSeconds(s)
		require.Error(t, err, s)
	}
	for _, at := range []time.Time{time.Unix(-1, 0), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		_, err := formatSeconds(at)
		require.Error(t, err)
	}
}
