package kpl_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kpl"
)

func TestAggregatorFillsToTheLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := kpl.Aggregator{MaxSize: rapid.IntRange(100, 2000).Draw(t, "limit")}
		for n := 0; ; n++ {
			key := rapid.SampledFrom([]string{"a", "bb", strings.Repeat("c", 130)}).Draw(t, "key")
			hash := rapid.SampledFrom([]string{"", "5", "12345678901234567890"}).Draw(t, "hash")
			data := make([]byte, rapid.IntRange(0, 300).Draw(t, "data"))
			before := a.Bytes()
			err := a.Add(key, hash, data)
			if err == nil {
				require.Equal(t, n+1, a.Len())
				require.Len(t, a.Bytes(), a.Size())
				require.LessOrEqual(t, a.Size(), a.MaxSize)
				continue
			}
			require.Equal(t, before, a.Bytes(), "a refused record changes nothing")
			require.Equal(t, n, a.Len())
			if !strings.Contains(err.Error(), "may have") {
				require.ErrorIs(t, err, kpl.ErrFull)
				a.Reset()
				require.NoError(t, a.Add(key, hash, data), "it fits into a new one")
			} else {
				require.ErrorIs(t, err, kpl.ErrInvalidRecord)
			}
			return
		}
	})
}

func TestAggregatorTakesExactlyTheDefaultLimit(t *testing.T) {
	t.Parallel()
	var a kpl.Aggregator
	data := make([]byte, kpl.DefaultMaxSize)
	require.ErrorIs(t, a.Add("k", "", data), kpl.ErrInvalidRecord)
	// 20 around the protobuf, 3 for the key, 4 + 2 + 4 before the data.
	require.ErrorIs(t, a.Add("k", "", data[:kpl.DefaultMaxSize-32]), kpl.ErrInvalidRecord)
	require.NoError(t, a.Add("k", "", data[:kpl.DefaultMaxSize-33]))
	require.Equal(t, kpl.DefaultMaxSize, a.Size())
	require.ErrorIs(t, a.Add("k", "", nil), kpl.ErrFull)
	out, _ := kpl.Deaggregate([]kcl.Record{carrier(1, a.Bytes())}, kpl.Options{})
	require.Len(t, out[0].Data(), kpl.DefaultMaxSize-33)
}

func TestAggregatorRefusesBadKeys(t *testing.T) {
	t.Parallel()
	var a kpl.Aggregator
	for want, keys := range map[string][2]string{
		"0 characters":    {"", ""},
		"257 characters":  {strings.Repeat("ä", 257), ""},
		"decimal number":  {"key", "x"},
		"below 2^128":     {"key", power(128, 0)},
		"no decimal numb": {"key", " 1"},
	} {
		err := a.Add(keys[0], keys[1], []byte("data"))
		require.ErrorIs(t, err, kpl.ErrInvalidRecord)
		require.ErrorContains(t, err, want)
	}
	require.Zero(t, a.Len())
	require.Zero(t, a.Size())
	require.Nil(t, a.Bytes())
	require.NoError(t, a.Add(strings.Repeat("ä", 256), power(128, -1), nil))
}

func TestAggregatorCopiesItsInput(t *testing.T) {
	t.Parallel()
	var a kpl.Aggregator
	data := []byte("first")
	require.NoError(t, a.Add("key", "7", data))
	copy(data, "xxxxx")
	first := a.Bytes()
	a.Reset()
	require.NoError(t, a.Add("other", "7", []byte("second")))
	out, _ := kpl.Deaggregate([]kcl.Record{carrier(1, first), carrier(2, a.Bytes())}, kpl.Options{})
	require.Equal(t, "1=first 2=second", brief(out))
}
