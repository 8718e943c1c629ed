package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTakerVectors replays the vectors of the KCL's DynamoDBLeaseTakerTest and
// DynamoDBLeaseTakerIntegrationTest, for the plan of a worker foo. The outcome is the same: which
// worker takes how many leases of which owner. The plan departs from the KCL in three ways.
//
//   - Leases that have been free for very long are shared out like others, so that no worker takes
//     all of them. (By the KCL's priority path every worker tries to get as many as it may have.)
//   - A worker takes its share of the free leases and asks for the rest of its share in one round.
//   - A share is the average rounded up or down, not always up.
//
// Whether a lease is expired is judged before the plan: see TestFleet and the tests of the
// coordinator.
func TestTakerVectors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, rows string
		me         string // more of foo
		want       map[string]int
	}{
		{"no lease is available, one is free", "1 -\n2 foo\n3 bar\n4 baz", "", nil}, // see below
		{
			"all are expired", "2 foo expired idle\n3 bar expired\n4 baz expired", "",
			map[string]int{"take 2 (handover)": 1, "take 3 (expired)": 1, "take 4 (expired)": 1},
		},
		{"off by one", "1 bar\n2 bar\n3 baz\n4 baz\n5 foo", "", map[string]int{}},
		{
			"steal from who has most", "1 bar\n2 baz\n3 baz\n4 baz\n5 baz\n6 baz", " new",
			map[string]int{"ask baz (balance)": 1},
		},
		{
			"steal from a worker of the KCL", "1 bar\n2 baz native=-\n3 baz native=-\n4 baz native=-\n5 baz native=-", " new",
			map[string]int{"take baz (balance)": 1},
		},
		{"three are free, bar has one", "1 bar\n2 -\n3 -\n4 -", " new", map[string]int{"free": 2}},
		{"the same, very long", "1 bar\n2 - waited=1\n3 - waited=1\n4 - waited=1", " new", map[string]int{"free": 2}},
		{
			"one is free, bar has three", "1 -\n2 bar\n3 bar\n4 bar", " new",
			map[string]int{"take 1 (free)": 1, "ask bar (balance)": 1},
		},
		{"one is free, bar has two", "1 -\n2 bar\n3 bar", " new", map[string]int{"take 1 (free)": 1}},
		{"a new lease of another worker", "1 bar", " new", map[string]int{}},
		{"an expired lease of another worker", "1 bar expired", " new", map[string]int{"take 1 (expired)": 1}},
		{"its own, which had expired", "1 foo expired idle", "", map[string]int{"take 1 (handover)": 1}},
		{"more leases than it may have", "1 -\n2 -\n3 -\n4 -\n5 -", " new max=2", map[string]int{"free": 2}},
		{"it has what it may have", "1 foo\n2 foo\n3 -", " max=2", map[string]int{}},
		{"more workers than leases", "1 a\n2 b", " new", map[string]int{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.want == nil {
				takes := 0
				for _, me := range []string{"foo", "bar", "baz"} {
					for _, a := range Native(parseView(t, "me "+me+"\n"+tt.rows)) {
						require.Equal(t, "1", a.Row.Key)
						require.Equal(t, Take, a.Verb)
						takes++
					}
				}
				require.Equal(t, 1, takes, "one of them takes it")
				return
			}
			got := map[string]int{}
			for _, a := range Native(parseView(t, "me foo"+tt.me+"\n"+tt.rows)) {
				what := fmt.Sprintf("%s %s (%s)", a.Verb, a.Row.Key, a.Reason)
				if a.Reason == "balance" {
					what = fmt.Sprintf("%s %s (%s)", strings.Fields(a.Verb.String())[0], a.Row.Owner, a.Reason)
				}
				if _, named := tt.want[what]; !named && tt.want[a.Reason] > 0 {
					what = a.Reason
				}
				got[what]++
			}
			require.Equal(t, tt.want, got)
		})
	}
}
