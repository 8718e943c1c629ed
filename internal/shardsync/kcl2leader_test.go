package shardsync

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// TestShardSyncLeaderVectors has the worker that JVM 17 puts first of n workers w000 to w(n-1). For
// small n it has the whole order.
func TestShardSyncLeaderVectors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		n     int
		order string // "..." stands for the others
	}{
		{0, ""},
		{1, "0"},
		{2, "0 1"},
		{3, "2 0 1"},
		{4, "3 0 1 2"},
		{5, "4 0 2 1 3"},
		{6, "2 3 5 4 0 1"},
		{7, "2 4 3 5 0 6 1"},
		{8, "2 3 0 6 4 7 1 5"},
		{9, "3 8 0 5 7 1 6 2 4"},
		{10, "8 5 1 6 9 4 2 0 7 3"},
		{16, "11 ..."},
		{20, "14 ..."},
		{25, "0 ..."},
		{50, "47 ..."},
		{100, "95 ..."},
		{250, "110 ..."},
		{1000, "748 ..."},
	} {
		t.Run(fmt.Sprintf("%d workers", tt.n), func(t *testing.T) {
			t.Parallel()
			name := func(i int) string { return fmt.Sprintf("w%03d", i) }
			rows := []leases.Lease{{Key: "free"}}
			for i := range tt.n {
				rows = append(rows, leases.Lease{Owner: name(i)}, leases.Lease{Owner: name(i)})
			}
			rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			var want []string
			for _, word := range strings.Fields(tt.order) {
				if word == "..." {
					break
				}
				var i int
				_, err := fmt.Sscan(word, &i)
				require.NoError(t, err)
				want = append(want, name(i))
			}
			order := shuffledOwners(rows)
			require.Len(t, order, tt.n)
			require.Equal(t, want, order[:min(len(want), tt.n):tt.n])
			if tt.n == 0 {
				require.Empty(t, KCL2SyncLeader(rows))
				return
			}
			require.Equal(t, want[0], KCL2SyncLeader(rows))
			slices.Sort(order)
			require.Len(t, slices.Compact(order), tt.n, "each once")
		})
	}
}

// TestJavaRandomVectors is what java.util.Random(1947).nextInt returns on JVM 17;
// with 2^30+1 nearly every second number is dropped.
func TestJavaRandomVectors(t *testing.T) {
	t.Parallel()
	const half = 1 << 30
	for _, tt := range []struct {
		name   string
		bounds []int32
		want   []int32
	}{
		{"ten and down", []int32{10, 9, 8, 7}, []int32{3, 7, 0, 2}},
		{
			"large ones",
			[]int32{half + 1, half + 1, half + 1, half + 1, half},
			[]int32{719977525, 63954995, 552873169, 1046619502, 516785559},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newJavaRandom(shuffleSeed)
			var got []int32
			for _, n := range tt.bounds {
				got = append(got, r.intn(n))
			}
			require.Equal(t, tt.want, got)
		})
	}
}

// Owners of which rows count, and in which order they are before the shuffle: of four, the last one
// is elected.
func TestShardSyncLeaderOfRows(t *testing.T) {
	t.Parallel()
	finished := leases.Lease{Key: "end", Owner: "z"}
	finished.Checkpoint.SequenceNumber = "SHARD_END"
	for _, tt := range []struct {
		name string
		rows []leases.Lease
		want string
	}{
		{"finished rows", []leases.Lease{{Owner: "a"}, {Owner: "b"}, {Owner: "c"}, finished}, "z"},
		{"the next owner", []leases.Lease{{Owner: "a"}, {Owner: "b"}, {Owner: "c"}, {Owner: "z", CheckpointOwner: "y"}}, "z"},
		{"suffixes of this library", []leases.Lease{
			{Owner: "host-1"},
			{Owner: "host-1:99aa"},
			{Owner: "host-1:0f00"},
			{Owner: "host"},
		}, "host-1:99aa"},
		// By bytes the emoji, U+1F600, would be the last one.
		{
			"code units",
			[]leases.Lease{{Owner: "w\U0001F600"}, {Owner: "wz"}, {Owner: "w\uFF5E"}, {Owner: "w\u00e9"}},
			"w\uFF5E",
		},
		{"nobody", []leases.Lease{{Key: "0"}, {Key: "1", CheckpointOwner: ""}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, KCL2SyncLeader(tt.rows))
		})
	}
}
