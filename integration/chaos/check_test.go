//go:build unix

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/integration/chaos/journal"
)

// batch is a batch of records of key a.
func batch(began, done int64, counters ...int) journal.Batch {
	b := journal.Batch{Shard: "shard", Began: began, Done: done}
	for _, n := range counters {
		b.Entries = append(b.Entries, journal.Entry{Sequence: "49", Key: "a", Counter: n})
	}
	return b
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		put     int
		batches []journal.Batch
		want    verdict
	}{
		"all well":         {3, []journal.Batch{batch(10, 20, 0, 1), batch(30, 40, 2)}, verdict{Longest: 39}},
		"nothing was put":  {0, nil, verdict{}},
		"loss in between":  {3, []journal.Batch{batch(10, 20, 0), batch(30, 40, 2)}, verdict{Lost: 1, Longest: 39}},
		"loss at the end":  {3, []journal.Batch{batch(10, 20, 0, 1)}, verdict{Lost: 1, Longest: 19}},
		"nothing is done":  {2, nil, verdict{Lost: 2}},
		"not acknowledged": {2, []journal.Batch{batch(10, 20, 0), batch(30, 0, 1)}, verdict{Lost: 1, Longest: 19}},
		"foreign record":   {1, []journal.Batch{batch(10, 20, 0), batch(30, 40, 1)}, verdict{Foreign: 1, Longest: 19}},
		"duplicates": {
			2,
			[]journal.Batch{batch(10, 20, 0, 1), batch(30, 40, 0, 1), batch(50, 0, 1)},
			verdict{Duplicates: 3, Longest: 19},
		},
		"late duplicate of a frozen worker": {
			2, []journal.Batch{batch(10, 90, 0), batch(30, 40, 0), batch(50, 60, 1)}, verdict{Duplicates: 1, Longest: 59},
		},
		"killed in the middle of a batch": {
			3,
			[]journal.Batch{batch(10, 20, 0), batch(30, 0, 1, 2), batch(50, 60, 1), batch(70, 80, 2)},
			verdict{Duplicates: 2, Longest: 79},
		},
		"order turned round in a batch": {2, []journal.Batch{batch(10, 20, 1, 0)}, verdict{OutOfOrder: 1, Longest: 19}},
		"later record done first": {
			2, []journal.Batch{batch(30, 40, 1), batch(50, 60, 0)}, verdict{OutOfOrder: 1, Longest: 59},
		},
		"later record begun before the one before was done": {
			2, []journal.Batch{batch(10, 50, 0), batch(40, 60, 1)}, verdict{OutOfOrder: 1, Longest: 59},
		},
		"later record begun first, and again in order": {
			2,
			[]journal.Batch{batch(5, 0, 1), batch(10, 20, 0, 1)},
			verdict{OutOfOrder: 1, Duplicates: 1, Longest: 19},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The journals are read in any order.
			for _, backwards := range []bool{false, true} {
				c := newChecker()
				for i := range tc.batches {
					if backwards {
						i = len(tc.batches) - 1 - i
					}
					c.delivered(tc.batches[i])
				}
				if tc.put > 0 {
					c.produced(1, "a", 0, tc.put)
				}
				got := c.verdict()
				require.Len(t, got.Examples, got.violations(), "%s", got)
				require.Equal(t, got.Longest > 0, got.Slowest != "")
				got.Examples, got.Slowest = nil, ""
				tc.want.Records = tc.put
				require.Equal(t, tc.want, got)
				missing, put := c.missing()
				require.Equal(t, []int{tc.want.Lost, tc.put}, []int{missing + tc.want.Foreign, put})
			}
		})
	}
}

func TestVerdictDescribesTheFirstViolations(t *testing.T) {
	t.Parallel()
	c := newChecker()
	c.produced(1, "a", 0, 30)
	c.delivered(batch(10, int64(10+3*time.Second), 0))
	v := c.verdict()
	require.Len(t, v.Examples, maxExamples)
	require.Equal(t, 29, v.violations())
	require.Contains(t, v.String(), "records=30 duplicates=0 lost=29 order=0 foreign=0 longest=3s\n\tlost: a 1,")
}
