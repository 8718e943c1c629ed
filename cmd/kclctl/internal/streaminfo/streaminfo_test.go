package streaminfo

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
)

// number returns a sequence number of 56 digits that ends with suffix.
func number(suffix string) string { return "4" + strings.Repeat("0", awsDigits-1-len(suffix)) + suffix }

func TestCheckRange(t *testing.T) {
	t.Parallel()
	open := kcl.Shard{ID: "shard", StartingSequenceNumber: number("10")}
	closed := kcl.Shard{ID: "shard", StartingSequenceNumber: number("10"), EndingSequenceNumber: number("20")}
	for name, c := range map[string]struct {
		shard  kcl.Shard
		number string
		want   string // part of the error; empty for none
	}{
		"first":                      {open, number("10"), ""},
		"before the first":           {open, number("09"), "before the first"},
		"ahead of an open shard":     {open, number("99"), ""},
		"last":                       {closed, number("20"), ""},
		"behind the last":            {closed, number("21"), "behind the last"},
		"too short":                  {open, "17", "before the first"},
		"too long":                   {open, number("10") + "0", "cannot be a sequence number"},
		"shard without a range":      {kcl.Shard{ID: "shard"}, "17", ""},
		"shard of a server of tests": {kcl.Shard{ID: "shard", StartingSequenceNumber: "5"}, "17", ""},
	} {
		err := CheckRange(c.shard, kcl.ExtendedSequenceNumber{SequenceNumber: c.number, SubSequenceNumber: 3})
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
		require.ErrorContains(t, err, "shard shard", name)
	}
}

func TestCheckDigits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		known, number string
		valid         bool
	}{
		"Kinesis":                {"", number("1"), true},
		"nothing known, short":   {"", "17", false},
		"Kinesis, a digit less":  {number("1"), number("1")[1:], false},
		"server of tests, equal": {"12345", "54321", true},
		"server of tests, next":  {"99999", "100000", true},
		"server of tests, far":   {"12345", "1234567", false},
	} {
		err := CheckDigits("shard", c.known, kcl.ExtendedSequenceNumber{SequenceNumber: c.number})
		require.Equal(t, c.valid, err == nil, "%s: %v", name, err)
	}
}

func TestMissingAncestors(t *testing.T) {
	t.Parallel()
	listed := map[string]kcl.Shard{
		"a": {ID: "a", ParentID: "trimmed"}, "b": {ID: "b"}, "c": {ID: "c", ParentID: "a", AdjacentParentID: "b"},
		"d": {ID: "d", ParentID: "c"},
	}
	rows := map[string][]string{"d": {"c"}, "c": {"a", "b"}, "a": {"d"}} // a damaged table: a circle
	for name, c := range map[string]struct {
		stream Stream
		has    []string
		want   []string
	}{
		"listed":              {Stream{Shards: listed}, []string{"d"}, []string{"a", "b", "c"}},
		"listed, one is here": {Stream{Shards: listed}, []string{"d", "a"}, []string{"b", "c"}},
		"no list":             {Stream{}, []string{"d"}, []string{"a", "b", "c"}},
		"an empty list":       {Stream{Shards: map[string]kcl.Shard{}}, []string{"d"}, nil},
		"no rows":             {Stream{Shards: listed}, nil, nil},
	} {
		has := map[string]bool{}
		for _, id := range c.has {
			has[id] = true
		}
		require.Equal(t, c.want, c.stream.MissingAncestors(has, rows), name)
		require.Len(t, has, len(c.has), "the caller's set stays")
	}
}
