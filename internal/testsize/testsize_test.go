package testsize

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSizes(t *testing.T) {
	t.Parallel()
	want := 2
	if testing.Short() {
		want = 1
	}
	if *long {
		want = 3
	}
	require.Equal(t, want, Pick(1, 2, 3))
	cases := map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
	if want == 1 {
		require.Equal(t, map[string]int{"a": 1, "c": 3}, Some(2, cases))
	} else {
		require.Equal(t, cases, Some(2, cases))
	}
}
