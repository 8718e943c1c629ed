package chance_test

import (
	"maps"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/chance"
)

// TestDraws first draws as in production. Then it draws as in a simulation, which has no way back.
func TestDraws(t *testing.T) {
	lease := "shardId-000000000001"
	require.Zero(t, testing.AllocsPerRun(100, func() { chance.N(time.Hour, "renew", lease) }))
	require.Empty(t, chance.Name("backoff"))
	inRange(t)
	synctest.Test(t, func(t *testing.T) {
		first := draws()
		require.NotEqual(t, first, draws(), "nothing repeats in production")
	})

	chance.Simulate()
	inRange(t)
	synctest.Test(t, func(t *testing.T) {
		first := draws()
		require.Equal(t, first, draws(), "the same words at the same time")
		require.NotEqual(t, draws("a"), draws("b"))
		require.NotEqual(t, draws("ab", "c"), draws("a", "bc"))
		require.NotEqual(t, chance.N(1<<40, "a"), chance.N(1<<40+1, "a"))
		time.Sleep(time.Nanosecond)
		for i, d := range draws() {
			require.NotEqual(t, first[i], d, "another time")
		}
	})
}

// draws returns a draw of each kind.
func draws(words ...string) []any {
	var bytes [17]byte
	chance.Read(bytes[:], words...)
	return []any{
		chance.N(time.Hour, words...), chance.Float64(words...), chance.Rand(words...).Uint64(), bytes, chance.Text(words...),
	}
}

// inRange tests that draws keep their bounds and use all of their range.
func inRange(t *testing.T) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		const draws = 2000
		numbers, texts, sum, outside := map[int]int{}, map[string]bool{}, 0.0, false
		letters := regexp.MustCompile("^[A-Z2-7]{26}$")
		for range draws {
			time.Sleep(time.Nanosecond)
			numbers[chance.N(10, "number")]++
			f := chance.Float64("float")
			outside = outside || f < 0 || f >= 1
			sum += f
			text := chance.Text("text")
			texts[text] = letters.MatchString(text)
		}
		for i := range 10 {
			require.InDelta(t, draws/10, numbers[i], draws/25)
		}
		require.Len(t, numbers, 10)
		require.False(t, outside)
		require.Len(t, texts, draws)
		require.NotContains(t, slices.Collect(maps.Values(texts)), false)
		require.InDelta(t, 0.5, sum/draws, 0.03)
	})
}
