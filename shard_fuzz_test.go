package kcl_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/kinesis-go/kcl"
)

// FuzzParseNames: the name or ARN of a stream that was read is written as the same text.
func FuzzParseNames(f *testing.F) {
	for _, s := range []string{
		"123456789012:orders:1700000000", "arn:aws:kinesis:eu-west-1:123456789012:stream/orders",
		"arn:aws-cn:kinesis:cn-north-1:123456789012:stream/a.b_c-d/consumer/app:1700000000", "0:a:-1", "::", "é",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := kcl.ParseStreamIdentifier(s); err == nil {
			again, err := kcl.ParseStreamIdentifier(id.String())
			if err != nil || again != id || !kcl.ValidStreamName(id.Name) {
				t.Fatalf("%q is read as %v and then as %v: %v", s, id, again, err)
			}
		}
		if id, err := kcl.ParseStreamARN(s); err == nil && (id.ARN != s || !strings.HasSuffix(s, ":stream/"+id.Name)) {
			t.Fatalf("%q is read as %+v", s, id)
		}
		if stream, consumer, err := kcl.ParseConsumerARN(s); err == nil {
			if !strings.HasPrefix(s, stream+"/consumer/"+consumer) || !kcl.ValidStreamName(consumer) {
				t.Fatalf("%q is read as %q and %q", s, stream, consumer)
			}
			if _, err := kcl.ParseStreamARN(stream); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzComparePositions: sequence numbers are ordered as numbers, and positions are read as written.
func FuzzComparePositions(f *testing.F) {
	f.Add("9", "10", int64(0), int64(1), "AT_TIMESTAMP 2026-01-31T08:00:00Z")
	f.Add("007", "7", int64(2), int64(1), "AFTER_SEQUENCE_NUMBER 12")
	f.Add("SHARD_END", "1", int64(0), int64(0), "LATEST")
	f.Fuzz(func(t *testing.T, a, b string, subA, subB int64, text string) {
		m, errA := kcl.ParseSequenceNumber(a, subA)
		n, errB := kcl.ParseSequenceNumber(b, subB)
		if errA == nil && errB == nil {
			if m.Compare(n) != -n.Compare(m) {
				t.Fatalf("%v and %v have no order", m, n)
			}
			if !m.IsSentinel() && !n.IsSentinel() {
				x, _ := new(big.Int).SetString(a, 10)
				y, _ := new(big.Int).SetString(b, 10)
				if want := x.Cmp(y); want != 0 && want != m.Compare(n) {
					t.Fatalf("%v and %v are in the wrong order", m, n)
				}
			}
		}
		var p, again kcl.Position
		if p.UnmarshalText([]byte(text)) == nil {
			if err := again.UnmarshalText([]byte(p.String())); err != nil || again.String() != p.String() {
				t.Fatalf("%q is read as %v and then as %v: %v", text, p, again, err)
			}
		}
	})
}
