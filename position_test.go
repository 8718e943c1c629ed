package kcl_test

import (
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
)

func number(s string, sub int64) kcl.ExtendedSequenceNumber {
	return kcl.ExtendedSequenceNumber{SequenceNumber: s, SubSequenceNumber: sub}
}

func TestSequenceNumbersAreOrderedAsTheKCLOrdersThem(t *testing.T) {
	t.Parallel()
	ascending := []kcl.ExtendedSequenceNumber{
		{},
		number(kcl.SentinelAtTimestamp, 0), number(kcl.SentinelTrimHorizon, 0), number(kcl.SentinelLatest, 0),
		number("0", 0), number("9", 0), number("9", 1), number("10", 0), number("100", 7), number("101", 0),
		number("49590338271490256608559692538361571095921575989136588898", 0),
		number(kcl.SentinelShardEnd, 0),
	}
	for i, n := range ascending {
		for j, m := range ascending {
			require.Equal(t, sign(i-j), n.Compare(m), "%v against %v", n, m)
		}
	}
}

// TestP17 is the defect of comparing the numbers as strings: the order turns
// round at every new digit.
func TestP17SequenceNumbersCompareByValue(t *testing.T) {
	t.Parallel()
	digits := rapid.StringMatching(`0|0{0,3}[1-9][0-9]{0,125}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := digits.Draw(t, "a"), digits.Draw(t, "b")
		x, _ := new(big.Int).SetString(a, 10)
		y, _ := new(big.Int).SetString(b, 10)
		require.Equal(t, x.Cmp(y), number(a, 0).Compare(number(b, 0)))
		require.NoError(t, number(a, 0).Validate())
	})
}

// Some servers for tests write leading zeros, and know a number again only with them.
func TestLeadingZerosChangeNoOrder(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"007", "000", "00000000000000000000012", strings.Repeat("0", 128) + "7"} {
		n, err := kcl.ParseSequenceNumber(text, 3)
		require.NoError(t, err, text)
		require.Equal(t, text+"/3", n.String(), "it is kept as it came")
	}
	_, err := kcl.ParseSequenceNumber(strings.Repeat("0", 130), 0)
	require.ErrorIs(t, err, kcl.ErrInvalidSequenceNumber)
	require.Equal(t, -1, number("007", 0).Compare(number("10", 0)))
	require.Equal(t, 1, number("010", 0).Compare(number("9", 0)))
	require.Equal(t, 0, number("007", 0).Compare(number("7", 0)))
	require.Equal(t, 0, number("0", 0).Compare(number("000", 0)))
	require.Equal(t, -1, number("007", 1).Compare(number("7", 2)))
	require.Equal(t, -1, number(kcl.SentinelLatest, 0).Compare(number("000", 0)))
}

func TestCompareDoesNotAllocate(t *testing.T) {
	a, b := number(
		"49590338271490256608559692538361571095921575989136588898",
		3,
	), number("49590338271490256608559692538361571095921575989136588899", 0)
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = a.Compare(b) }))
	padded := number("000"+a.SequenceNumber, 3)
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = padded.Compare(b) }))
}

func TestParseSequenceNumberNamesTheFault(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "empty",
		"12a":                    `"12a"`,
		"-5":                     `"-5"`,
		"shard_end":              "SHARD_END",
		"1\n2":                   `"1\n2"`,
		strings.Repeat("9", 130): "130 characters",
	} {
		_, err := kcl.ParseSequenceNumber(text, 0)
		require.ErrorIs(t, err, kcl.ErrInvalidSequenceNumber, "%q", text)
		require.ErrorContains(t, err, want)
	}
	_, err := kcl.ParseSequenceNumber("5", -1)
	require.ErrorContains(t, err, "-1")
	for _, text := range []string{"0", "17", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "SHARD_END"} {
		n, err := kcl.ParseSequenceNumber(text, 2)
		require.NoError(t, err)
		require.Equal(t, number(text, 2), n)
		require.Equal(t, text+"/2", n.String())
	}
}

func FuzzParseSequenceNumber(f *testing.F) {
	for _, s := range []string{"", "0", "00", "17", "SHARD_END", "LATEST", "x", "１"} {
		f.Add(s, int64(0))
	}
	f.Fuzz(func(t *testing.T, s string, sub int64) {
		n, err := kcl.ParseSequenceNumber(s, sub)
		if err != nil {
			require.True(t, n.IsZero())
			return
		}
		require.Zero(t, n.Compare(n))
		require.Equal(t, -1, kcl.ExtendedSequenceNumber{}.Compare(n))
	})
}

func TestInitialPositionDefaultsToTrimHorizon(t *testing.T) {
	t.Parallel()
	var zero kcl.InitialPosition
	require.NoError(t, zero.Validate())
	require.Equal(t, kcl.Position{Kind: kcl.TrimHorizon}, zero.Position())
	require.Equal(t, number(kcl.SentinelTrimHorizon, 0), zero.Sentinel())
}

func TestInitialPositionValidate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	require.NoError(t, kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: now}.Validate())
	for want, p := range map[string]kcl.InitialPosition{
		"Timestamp is missing": {Kind: kcl.AtTimestamp},
		"Timestamp is set":     {Kind: kcl.Latest, Timestamp: now},
		"AT_SEQUENCE_NUMBER":   {Kind: kcl.AtSequenceNumber},
		"Kind is 99":           {Kind: 99},
	} {
		require.ErrorContains(t, p.Validate(), want)
	}
}

func TestPositionsReadWellInLogs(t *testing.T) {
	t.Parallel()
	require.Equal(t, "TRIM_HORIZON", kcl.Position{}.String())
	require.Equal(t, "AFTER_SEQUENCE_NUMBER 17", kcl.After("17").String())
	require.Equal(t, "AT_SEQUENCE_NUMBER 17", kcl.At("17").String())
	require.Equal(t, "AT_TIMESTAMP 2026-01-02T03:04:05.006Z",
		kcl.Position{Kind: kcl.AtTimestamp, Timestamp: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)}.String())
	require.Equal(t, "PositionKind(42)", kcl.PositionKind(42).String())
}

func TestSequenceNumbersSortNumerically(t *testing.T) {
	t.Parallel()
	var numbers []kcl.ExtendedSequenceNumber
	for i := range 1000 {
		numbers = append(numbers, number(strconv.Itoa((i*7919)%1000), 0))
	}
	slices.SortFunc(numbers, kcl.ExtendedSequenceNumber.Compare)
	for i, n := range numbers {
		require.Equal(t, strconv.Itoa(i), n.SequenceNumber)
	}
}

func sign(i int) int {
	switch {
	case i < 0:
		return -1
	case i > 0:
		return 1
	}
	return 0
}

// Positions are texts in JSON, and come back as they were.
func TestPositionsAsText(t *testing.T) {
	t.Parallel()
	type all struct {
		Numbers   []kcl.ExtendedSequenceNumber
		Positions []kcl.Position
		Start     kcl.InitialPosition
	}
	at := time.Date(2026, 1, 31, 8, 0, 0, 5_000_000, time.UTC)
	want := all{
		Numbers: []kcl.ExtendedSequenceNumber{
			{},
			{SequenceNumber: "42"},
			{SequenceNumber: "42", SubSequenceNumber: 7},
			{SequenceNumber: kcl.SentinelShardEnd},
		},
		Positions: []kcl.Position{
			{},
			{Kind: kcl.Latest},
			kcl.At("42"),
			kcl.After("42"),
			{Kind: kcl.AtTimestamp, Timestamp: at},
		},
		Start: kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: at},
	}
	text, err := json.Marshal(want)
	require.NoError(t, err)
	require.JSONEq(t, `{"Numbers":["","42","42/7","SHARD_END"],
		"Positions":["TRIM_HORIZON","LATEST","AT_SEQUENCE_NUMBER 42","AFTER_SEQUENCE_NUMBER 42",
			"AT_TIMESTAMP 2026-01-31T08:00:00.005Z"],
		"Start":{"Kind":"AT_TIMESTAMP","Timestamp":"2026-01-31T08:00:00.005Z"}}`, string(text))
	var got all
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, want, got)
	for _, bad := range []string{
		`{"Numbers":["x"]}`, `{"Numbers":["1/x"]}`, `{"Positions":["NOWHERE"]}`,
		`{"Positions":["AT_SEQUENCE_NUMBER"]}`, `{"Positions":["LATEST 5"]}`, `{"Positions":["AT_TIMESTAMP noon"]}`,
	} {
		require.Error(t, json.Unmarshal([]byte(bad), &got), bad)
	}
}
