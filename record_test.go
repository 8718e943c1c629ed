package kcl_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
)

// TestK11 is the crash of code that takes the partition key for granted: on
// streams with automatic record distribution there is none.
func TestK11RecordWithoutPartitionKey(t *testing.T) {
	t.Parallel()
	r := kcl.NewRecord(kcl.RecordFields{SequenceNumber: "1", Data: []byte("x")})
	key, ok := r.PartitionKey()
	require.False(t, ok)
	require.Empty(t, key)
	_, ok = r.Clone().PartitionKey()
	require.False(t, ok)
}

func TestEncryptionType(t *testing.T) {
	t.Parallel()
	for _, e := range []kcl.EncryptionType{"", kcl.EncryptionNone, kcl.EncryptionKMS, "SOMETHING_NEW"} {
		require.Equal(t, e, kcl.NewRecord(kcl.RecordFields{EncryptionType: e}).EncryptionType())
	}
}

func TestCloneSharesNoMemory(t *testing.T) {
	t.Parallel()
	key, hash := "key", "17"
	f := kcl.RecordFields{
		SequenceNumber: "12", SubSequenceNumber: 3, Aggregated: true, PartitionKey: &key, ExplicitHashKey: &hash,
		Data: []byte("data"), ApproximateArrival: time.Unix(1, 0), EncryptionType: kcl.EncryptionKMS,
	}
	r := kcl.NewRecord(f)
	c := r.Clone()
	require.Equal(t, r, c)
	f.Data[0] = 'D'
	require.Equal(t, "Data", string(r.Data()))
	require.Equal(t, "data", string(c.Data()))
	require.Equal(t, kcl.ExtendedSequenceNumber{SequenceNumber: "12", SubSequenceNumber: 3}, c.Position())
	require.Equal(t, int64(3), c.SubSequenceNumber())
	require.True(t, c.Aggregated())
	require.Equal(t, kcl.EncryptionKMS, c.EncryptionType())
	require.Equal(t, time.Unix(1, 0), c.ApproximateArrival())
	got, ok := c.ExplicitHashKey()
	require.True(t, ok)
	require.Equal(t, "17", got)
}

func ExampleRecord_PartitionKey() {
	key := "customer-7"
	r := kcl.NewRecord(kcl.RecordFields{SequenceNumber: "49590338271490256608", PartitionKey: &key, Data: []byte("paid")})
	if key, ok := r.PartitionKey(); ok {
		fmt.Printf("%s: %s\n", key, r.Data())
	}
	// Output: customer-7: paid
}

func ExampleExtendedSequenceNumber_Compare() {
	a := kcl.ExtendedSequenceNumber{SequenceNumber: "99"}
	b := kcl.ExtendedSequenceNumber{SequenceNumber: "100"}
	end := kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}
	fmt.Println(a.Compare(b), end.Compare(b))
	// Output: -1 1
}
