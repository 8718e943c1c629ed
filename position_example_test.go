package kcl_test

import (
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
)

// Logs and JSON spell positions as the service does.
func ExamplePosition() {
	for _, p := range []kcl.Position{
		{},
		kcl.After("49590338271490256608559692538361571095921575989136588898"),
		{Kind: kcl.AtTimestamp, Timestamp: time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)},
	} {
		text, err := p.MarshalText()
		fmt.Println(string(text), err)
	}
	// Output:
	// TRIM_HORIZON <nil>
	// AFTER_SEQUENCE_NUMBER 49590338271490256608559692538361571095921575989136588898 <nil>
	// AT_TIMESTAMP 2026-01-31T08:00:00Z <nil>
}

// An application that reads one stream needs only its name. The ARN is for streams of another
// account.
func ExampleParseStreamARN() {
	id, err := kcl.ParseStreamARN("arn:aws:kinesis:eu-west-1:123456789012:stream/orders")
	fmt.Println(id.AccountID, id.Name, err)
	// Output: 123456789012 orders <nil>
}
