package kcl_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
)

func TestStreamIdentifierRoundTrip(t *testing.T) {
	t.Parallel()
	id, err := kcl.ParseStreamIdentifier("123456789012:orders.v2_x-y:1700000000")
	require.NoError(t, err)
	require.Equal(t, kcl.StreamIdentifier{AccountID: "123456789012", Name: "orders.v2_x-y", CreationEpoch: 1700000000}, id)
	require.Equal(t, "123456789012:orders.v2_x-y:1700000000", id.String())
	require.Equal(t, "orders", kcl.StreamIdentifier{Name: "orders", CreationEpoch: 5}.String())
}

func TestParseStreamIdentifierRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "orders", "123456789012:orders", "123456789012:orders:", "123456789012:orders:-1", "123456789012:orders:0",
		"123456789012::1700000000", "12345678901:orders:1700000000", "x23456789012:orders:1700000000",
		"123456789012:or ders:1700000000", "123456789012:orders:1700000000:x", "123456789012:orders:99999999999999999999",
		":orders:1700000000", "123456789abc:orders:1700000000", "123456789012:orders:abc", "::", ":", "123456789012::",
	} {
		_, err := kcl.ParseStreamIdentifier(s)
		require.ErrorIs(t, err, kcl.ErrInvalidStream, s)
		require.ErrorContains(t, err, "account:name:epoch")
	}
}

func TestParseARNs(t *testing.T) {
	t.Parallel()
	for _, partition := range []string{"aws", "aws-cn", "aws-us-gov"} {
		arn := "arn:" + partition + ":kinesis:eu-central-1:123456789012:stream/orders"
		id, err := kcl.ParseStreamARN(arn)
		require.NoError(t, err)
		require.Equal(t, kcl.StreamIdentifier{AccountID: "123456789012", Name: "orders", ARN: arn}, id)
		stream, consumer, err := kcl.ParseConsumerARN(arn + "/consumer/billing:1700000000")
		require.NoError(t, err)
		require.Equal(t, arn, stream)
		require.Equal(t, "billing", consumer)
		for _, end := range []string{"", ":", ":1700000000.5", ":x"} { // servers for tests
			stream, consumer, err = kcl.ParseConsumerARN(arn + "/consumer/billing" + end)
			require.NoError(t, err)
			require.Equal(t, arn, stream)
			require.Equal(t, "billing", consumer)
		}
	}
	for _, arn := range []string{
		"", "orders", "arn:aws:sqs:eu-central-1:123456789012:stream/orders",
		"arn:aws:kinesis:eu-central-1:1234:stream/orders",
		"arn:aws:kinesis:eu-central-1:123456789012:table/orders", "arn:aws:kinesis:eu-central-1:123456789012:stream/",
		"arn:aws:kinesis:eu-central-1:123456789012:stream/orders/consumer/billing:1700000000",
		"arn:abc:kinesis:eu-central-1:123456789012:stream/orders", "arn:aws:dynamodb:eu-central-1:123456789012:stream/orders",
		"arn:aws:kinesis:eu-central-1:123456789:stream/orders", "arn:aws:kinesis:eu-central-1:123456789abc:stream/orders",
		"arn:aws:kinesis::123456789012:stream/orders", "arn:aws:kinesis:eu-central-1::stream/orders",
	} {
		_, err := kcl.ParseStreamARN(arn)
		require.ErrorIs(t, err, kcl.ErrInvalidStream, arn)
		require.ErrorContains(t, err, "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME")
	}
	_, _, err := kcl.ParseConsumerARN("arn:aws:kinesis:eu-central-1:123456789012:stream/orders")
	require.ErrorIs(t, err, kcl.ErrInvalidStream)
}

func TestHashKeyRangeValidate(t *testing.T) {
	t.Parallel()
	require.NoError(t, kcl.HashKeyRange{Start: "0", End: "340282366920938463463374607431768211455"}.Validate())
	for _, r := range []kcl.HashKeyRange{
		{},
		{Start: "5", End: "4"},
		{Start: "-1", End: "4"},
		{Start: "0", End: "340282366920938463463374607431768211456"},
		{Start: "0", End: "x"},
	} {
		require.Error(t, r.Validate(), "%+v", r)
	}
}

func TestShardParents(t *testing.T) {
	t.Parallel()
	require.Empty(t, kcl.Shard{ID: "a"}.Parents())
	require.Equal(t, []string{"p"}, kcl.Shard{ParentID: "p"}.Parents())
	require.Equal(t, []string{"p", "q"}, kcl.Shard{ParentID: "p", AdjacentParentID: "q"}.Parents())
	require.False(t, kcl.Shard{}.Closed())
	require.True(t, kcl.Shard{EndingSequenceNumber: "9"}.Closed())
}
