package leases_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

func TestOriginIsReadAsWritten(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.FixedZone("", 3600))
	for want, o := range map[string]leases.Origin{
		"":                                      {},
		"TRIM_HORIZON":                          {Kind: kcl.SentinelTrimHorizon},
		"LATEST@2026-03-04T04:06:07.89Z":        {Kind: kcl.SentinelLatest, At: at},
		"AT_TIMESTAMP@2026-03-04T04:06:07.891Z": {Kind: kcl.SentinelAtTimestamp, At: at.Add(time.Millisecond)},
		"AT_TIMESTAMP@1970-01-01T00:00:00Z":     {Kind: kcl.SentinelAtTimestamp, At: time.Unix(0, 0)},
	} {
		require.Equal(t, want, o.String())
		got := leases.Origin{Kind: "overwritten"}
		require.NoError(t, got.UnmarshalText([]byte(want)))
		require.True(t, got.Equal(o), "%v", got)
	}
	for _, bad := range []string{
		"LATEST", "AT_TIMESTAMP", "TRIM_HORIZON@2026-03-04T04:06:07Z", "SHARD_END", "latest@2026-03-04T04:06:07Z",
		"LATEST@", "LATEST@2026-03-04T04:06:07+01:00", "LATEST@2026-03-04T04:06:07.890Z", "LATEST@tomorrow", "@", "0",
	} {
		got := leases.Origin{Kind: "overwritten"}
		require.Error(t, got.UnmarshalText([]byte(bad)), bad)
		require.True(t, got.IsZero(), bad)
	}
}

func TestOriginOrder(t *testing.T) {
	t.Parallel()
	at := func(kind string, seconds int64) leases.Origin {
		return leases.Origin{Kind: kind, At: time.Unix(seconds, 0)}
	}
	horizon := leases.Origin{Kind: kcl.SentinelTrimHorizon}
	require.True(t, horizon.Before(at(kcl.SentinelLatest, 1)))
	require.False(t, at(kcl.SentinelLatest, 1).Before(horizon))
	require.True(t, at(kcl.SentinelLatest, 1).Before(at(kcl.SentinelAtTimestamp, 2)))
	require.False(t, at(kcl.SentinelLatest, 2).Before(at(kcl.SentinelLatest, 2)))
	require.False(t, leases.Origin{}.Before(at(kcl.SentinelLatest, 1)))
	require.False(t, horizon.Before(leases.Origin{}))
}
