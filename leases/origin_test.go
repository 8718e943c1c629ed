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
	at := time.Date(2026, 3, 4, 5, 6, 7, 890_123_456, time.FixedZone("", 3600))
	atTimestamp := func(at time.Time) leases.Origin {
		return leases.OriginOf(kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: at}, time.Time{})
	}
	for want, o := range map[string]leases.Origin{
		"":                                      {},
		"TRIM_HORIZON":                          leases.OriginOf(kcl.InitialPosition{}, at),
		"LATEST@2026-03-04T04:06:07.89Z":        leases.OriginOf(kcl.InitialPosition{Kind: kcl.Latest}, at),
		"AT_TIMESTAMP@2026-03-04T04:06:07.891Z": atTimestamp(at.Add(time.Millisecond)),
		"AT_TIMESTAMP@1970-01-01T00:00:00Z":     atTimestamp(time.Unix(0, 0)),
	} {
		require.Equal(t, want, o.String())
		got, err := leases.ParseOrigin(want)
		require.NoError(t, err)
		require.True(t, got.Equal(o), "%v", got)
	}
	for _, bad := range []string{
		"LATEST", "AT_TIMESTAMP", "TRIM_HORIZON@2026-03-04T04:06:07Z", "SHARD_END", "latest@2026-03-04T04:06:07Z",
		"LATEST@", "LATEST@2026-03-04T04:06:07+01:00", "LATEST@2026-03-04T04:06:07.890Z", "LATEST@tomorrow", "@", "0",
	} {
		_, err := leases.ParseOrigin(bad)
		require.Error(t, err, bad)
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
