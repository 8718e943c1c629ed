package shardsync

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

func latest() kcl.InitialPosition { return kcl.InitialPosition{Kind: kcl.Latest} }

func atTime(t time.Time) kcl.InitialPosition {
	return kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: t}
}

func at(sentinel string) kcl.ExtendedSequenceNumber {
	return kcl.ExtendedSequenceNumber{SequenceNumber: sentinel}
}

func second(n int64) time.Time { return time.Unix(n, 0).UTC() }

func TestOriginOf(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 890_123_456, time.UTC)
	for want, got := range map[string]leases.Origin{
		"":                                      OriginOf(latest(), time.Time{}),
		"TRIM_HORIZON":                          OriginOf(kcl.InitialPosition{}, now),
		"LATEST@2026-03-04T05:06:07.89Z":        OriginOf(latest(), now),
		"AT_TIMESTAMP@2026-03-04T05:06:07.891Z": OriginOf(atTime(now.Add(time.Millisecond)), now),
		"AT_TIMESTAMP@1970-01-01T00:00:00Z":     OriginOf(atTime(second(-1)), now),
	} {
		require.Equal(t, want, got.String())
	}
	require.True(t, OriginOf(atTime(time.Time{}), now).IsZero())
}

// A second worker is configured otherwise: another kind, or AtTimestamp(time.Now()).
// The shards that the first one missed start where the first one began.
func TestMissedShardsStartWhereTheApplicationBegan(t *testing.T) {
	t.Parallel()
	first, later := second(1000), second(5000)
	initials := map[string]kcl.InitialPosition{
		"TRIM_HORIZON": {}, "LATEST": latest(), "the time": atTime(first), "a later time": atTime(later),
		"an earlier time": atTime(second(10)),
	}
	for began, one := range initials {
		plan := Plan(shards("0 1 2"), nil, one, Options{PinnedAt: first})
		require.Len(t, plan, 3)
		for _, l := range plan {
			require.Equal(t, OriginOf(one, first).String(), l.Origin.String())
			require.Equal(t, l.Origin.At.IsZero(), l.PinnedAt.IsZero())
		}
		for configured, other := range initials {
			t.Run(began+", then "+configured, func(t *testing.T) {
				t.Parallel()
				read := plan[0]
				read.Checkpoint, read.PinnedAt = at("49590338271490256608559692538361571095921575989136588898"), time.Time{}
				got := Plan(shards("0 1 2"), []leases.Lease{read}, other, Options{PinnedAt: later})
				require.Equal(t, plan[1:], got)
				require.True(t, StreamOrigin(got, other, Options{}).Equal(plan[0].Origin))
			})
		}
	}
}

// No row tells where an application of another library began. The worker writes its decision for a
// shard without a row into the new row, for the next process.
func TestMissedShardsOfAnotherLibraryAreDecidedOnce(t *testing.T) {
	t.Parallel()
	java := []leases.Lease{{Key: "0", ShardID: "0", Checkpoint: at("100")}}
	one := Plan(shards("0 1 2"), java, atTime(second(1000)), Options{})
	require.Len(t, one, 2)
	require.Equal(t, second(1000), one[0].PinnedAt)
	other := Plan(shards("0 1 2"), append(java, one[0]), atTime(second(5000)), Options{})
	require.Equal(t, one[1:], other)

	horizon := Plan(shards("0 1 2"), java, kcl.InitialPosition{}, Options{})
	require.Equal(t, horizon[1:],
		Plan(shards("0 1 2"), append(java, horizon[0]), latest(), Options{PinnedAt: second(5000)}))

	// Children tell nothing that their parents do not.
	plan := Plan(shards("0- 1(0) 2(0)"), java, atTime(second(1000)), Options{})
	require.Len(t, plan, 2)
	require.True(t, plan[0].Origin.IsZero())
}

// All rows of a family were missed. No record from before the origin is read.
func TestMissedFamilyStartsAtTheTime(t *testing.T) {
	t.Parallel()
	initial := atTime(second(1000))
	have := Plan(shards("0"), nil, initial, Options{})
	for _, l := range Plan(shards("0 1- 2(1) 3(1)"), have, initial, Options{}) {
		require.Equal(t, kcl.SentinelAtTimestamp, l.Checkpoint.SequenceNumber, l.ShardID)
		require.Equal(t, second(1000), l.PinnedAt)
	}
}

func TestChildrenCarryTheOrigin(t *testing.T) {
	t.Parallel()
	origin := leases.Origin{Kind: kcl.SentinelLatest, At: second(1000)}
	parent := leases.Lease{ShardID: "0", Extension: leases.Extension{Origin: origin}}
	require.True(t, ChildLease(parent, kcl.ChildShard{ID: "1"}).Origin.Equal(origin))
	plan := Plan(shards("0- 1(0) 2(0)"), []leases.Lease{parent}, kcl.InitialPosition{}, Options{})
	require.Len(t, plan, 2)
	for _, l := range plan {
		require.True(t, l.Origin.Equal(origin))
		require.Equal(t, kcl.SentinelTrimHorizon, l.Checkpoint.SequenceNumber)
	}
}

func TestStartsAreSettled(t *testing.T) {
	t.Parallel()
	now, then, number := second(5000), second(1000), "49590338271490256608559692538361571095921575989136588898"
	origin := func(kind string, t time.Time) leases.Origin { return leases.Origin{Kind: kind, At: t} }
	type ext = leases.Extension
	row := func(checkpoint string, e leases.Extension) leases.Lease {
		return leases.Lease{Checkpoint: at(checkpoint), Extension: e}
	}
	const l, a, h = kcl.SentinelLatest, kcl.SentinelAtTimestamp, kcl.SentinelTrimHorizon
	for _, tt := range []struct {
		name    string
		row     leases.Lease
		initial kcl.InitialPosition
		latest  time.Time
		began   leases.Origin
		pin     time.Time
		origin  leases.Origin
	}{
		{"LATEST of another library", row(l, ext{}), latest(), now, leases.Origin{}, now, origin(l, now)},
		{
			"LATEST, and no time is known", row(l, ext{}),
			latest(),
			time.Time{},
			leases.Origin{},
			time.Time{},
			leases.Origin{},
		},
		{"LATEST by hand", row(l, ext{Origin: origin(l, then)}), latest(), now, origin(l, then), now, origin(l, then)},
		{
			"LATEST where TRIM_HORIZON is configured", row(l, ext{}),
			kcl.InitialPosition{},
			now,
			leases.Origin{},
			now,
			leases.Origin{},
		},
		{
			"a time of another library, and one is configured", row(a, ext{}),
			atTime(then), now,
			leases.Origin{},
			then, origin(a, then),
		},
		{
			"a time of another library, and none is configured", row(a, ext{}),
			latest(), now,
			leases.Origin{},
			second(0),
			leases.Origin{},
		},
		{
			"a time of another library, and an older one is known", row(a, ext{}),
			atTime(now), now, origin(a, then), now, origin(a, then),
		},
		{"an older release's LATEST", row(l, ext{PinnedAt: then}), latest(), now, origin(l, then), then, origin(l, then)},
		{
			"an older release's pin beside a number", row(number, ext{PinnedAt: then}),
			latest(), now,
			leases.Origin{},
			time.Time{},
			origin(l, then),
		},
		{
			"an older release's pin, configured otherwise since", row(number, ext{PinnedAt: then}),
			kcl.InitialPosition{},
			now,
			leases.Origin{},
			time.Time{},
			leases.Origin{},
		},
		{
			"a pin at the end of a shard", row(kcl.SentinelShardEnd, ext{PinnedAt: then, Origin: origin(a, then)}),
			latest(), now, origin(a, then),
			time.Time{},
			origin(a, then),
		},
		{
			"made for a later time", row(a, ext{PinnedAt: now, Origin: origin(a, now)}),
			atTime(now), now, origin(a, then), then, origin(a, now),
		},
		{
			"made for LATEST, the application began at a time", row(l, ext{PinnedAt: now, Origin: origin(l, now)}),
			latest(), now, origin(a, then), then, origin(l, now),
		},
		{
			"made for LATEST, the application began at TRIM_HORIZON", row(l, ext{PinnedAt: now, Origin: origin(l, now)}),
			latest(), now, origin(h, time.Time{}), second(0), origin(l, now),
		},
		{
			"an older release's LATEST of a later time", row(l, ext{PinnedAt: now}),
			latest(), now, origin(l, then), then, origin(l, now),
		},
		{
			"pinned by hand", row(l, ext{PinnedAt: now, Origin: origin(l, then)}),
			latest(), now, origin(l, second(10)), now, origin(l, then),
		},
		{"a child that another library made", row(h, ext{}), latest(), now, origin(l, then), time.Time{}, origin(l, then)},
		{"nothing is known", row(number, ext{}), latest(), now, leases.Origin{}, time.Time{}, leases.Origin{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := Starts{Initial: tt.initial, Latest: tt.latest, Origin: tt.began}
			to, changed := s.Settle(tt.row)
			require.Equal(t, tt.row.Checkpoint, to.Checkpoint)
			require.WithinDuration(t, tt.pin, to.PinnedAt, 0)
			require.Equal(t, tt.origin.String(), to.Origin.String())
			require.True(t, tt.row.Same(leases.AttrAll&^changed, to))
			again, more := s.Settle(to)
			require.Zero(t, more)
			require.Equal(t, to, again)
			start, ok := to.Start()
			require.Equal(t, !to.Timed() || !to.PinnedAt.IsZero(), ok)
			if tt.pin.Equal(second(0)) {
				require.Equal(t, kcl.TrimHorizon, start.Kind)
			}
		})
	}
}

// Rows and configurations are mixed at random. Once the start of a row is written, it is the same
// for every later process, and no start lies behind the one that the row told.
func TestStartsAreDecidedOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		moment := rapid.Custom(func(t *rapid.T) time.Time { return second(rapid.Int64Range(1, 4).Draw(t, "second")) })
		initial := rapid.Custom(func(t *rapid.T) kcl.InitialPosition {
			positions := []kcl.InitialPosition{{}, latest(), atTime(moment.Draw(t, "configured"))}
			return rapid.SampledFrom(positions).Draw(t, "initial")
		})
		var rows []leases.Lease
		for _, id := range []string{"0", "1", "2"} {
			checkpoints := rapid.SampledFrom([]string{
				kcl.SentinelTrimHorizon, kcl.SentinelLatest,
				kcl.SentinelAtTimestamp, "100", kcl.SentinelShardEnd,
			})
			l := leases.Lease{Key: id, ShardID: id, Checkpoint: at(checkpoints.Draw(t, "checkpoint"))}
			if rapid.Bool().Draw(t, "pinned") {
				l.PinnedAt = moment.Draw(t, "pin")
			}
			if rapid.Bool().Draw(t, "ours") {
				l.Origin = OriginOf(initial.Draw(t, "began"), moment.Draw(t, "latest"))
			}
			rows = append(rows, l)
		}
		apply := func(opt Options, initial kcl.InitialPosition) {
			for _, u := range PlanStarts(rows, initial, opt) {
				for i := range rows {
					if rows[i].Key == u.Read.Key {
						rows[i] = u.Read.With(u.Set, u.To)
					}
				}
			}
		}
		one := initial.Draw(t, "one")
		apply(Options{PinnedAt: second(10)}, one)
		require.Empty(t, PlanStarts(rows, one, Options{PinnedAt: second(20)}))
		var before []kcl.Position
		for _, l := range rows {
			start, ok := l.Start()
			require.True(t, ok)
			require.True(t, l.Timed() || l.PinnedAt.IsZero())
			before = append(before, start)
		}
		apply(Options{PinnedAt: second(20)}, initial.Draw(t, "other"))
		for i, l := range rows {
			start, ok := l.Start()
			require.True(t, ok)
			if start != before[i] { // only a row without origin can have told something new
				require.True(t, start.Kind == kcl.TrimHorizon || start.Timestamp.Before(before[i].Timestamp),
					"%v, then %v", before[i], start)
			}
		}
	})
}

// A checkpoint that is set by hand brings its own time, and keeps the origin.
func TestMovedByHand(t *testing.T) {
	t.Parallel()
	began, now := second(1000), second(5000)
	for _, l := range []leases.Lease{
		{Checkpoint: at(kcl.SentinelLatest), Extension: leases.Extension{PinnedAt: began}},
		{Checkpoint: at("100"), Extension: leases.Extension{PinnedAt: began}},
		{Checkpoint: at("100"), Extension: leases.Extension{Origin: leases.Origin{Kind: kcl.SentinelLatest, At: began}}},
	} {
		for _, position := range []string{
			kcl.SentinelLatest, kcl.SentinelAtTimestamp, kcl.SentinelTrimHorizon, "200",
			kcl.SentinelShardEnd,
		} {
			to, changed := l.Moved(at(position), now)
			require.Equal(t, position, to.Checkpoint.SequenceNumber)
			require.Equal(t, to.Timed(), to.PinnedAt.Equal(now))
			require.Equal(t, !to.Timed(), to.PinnedAt.IsZero())
			require.Equal(t, "LATEST@1970-01-01T00:16:40Z", to.Origin.String())
			require.True(t, l.Same(leases.AttrAll&^changed, to))
			settled, more := Starts{Initial: latest(), Latest: second(9000), Origin: to.Origin}.Settle(to)
			require.Zero(t, more, "%v, %v", to, settled)
		}
	}
}
