package transfer

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/gokcl"
	"github.com/kinesis-go/kcl/leases"
)

const (
	seq1 = "49590338271490256608559692538361571095921575989136588801"
	seq2 = "49590338271490256608559692538361571095921575989136588802"
)

// TestPlansAreRepeatable writes the rows of a plan. The same plan then finds all of them there.
func TestPlansAreRepeatable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var rows []gokcl.Row
		for i := range rapid.IntRange(0, 8).Draw(t, "rows") {
			rows = append(rows, gokcl.Row{
				ShardID:    fmt.Sprintf("shardId-%012d", i),
				Checkpoint: rapid.SampledFrom([]string{"", "SHARD_END", seq1, seq2}).Draw(t, "checkpoint"),
				Parent:     rapid.SampledFrom([]string{"", "shardId-000000000000"}).Draw(t, "parent"),
			})
		}
		var have leases.Listing
		for _, action := range []string{actionCreate, actionSame} {
			p := Import{Rows: rows, Have: have, Position: kcl.InitialPosition{}.Sentinel()}.plan()
			require.Empty(t, p.Refused)
			require.Equal(t, len(rows), p.count(action))
			if action == actionCreate {
				for _, r := range p.Rows {
					have.Leases = append(have.Leases, r.lease)
				}
			}
		}
		var back []gokcl.Row
		for _, action := range []string{actionCreate, actionSame} {
			p := Export{Leases: have, Have: back, Lossy: true}.plan()
			require.Empty(t, p.Refused)
			require.Equal(t, len(rows), p.count(action))
			if action == actionCreate {
				for _, r := range p.Rows {
					back = append(back, r.row)
				}
			}
		}
		require.Equal(t, rows, append([]gokcl.Row(nil), back...))
	})
}
