//go:build unix

package main

import (
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	c, err := parse([]string{"-target", "1000,900,500", "-state", "dir", "-time", "1h"})
	require.NoError(t, err)
	require.Equal(t, map[string]int{sigkill: 1000, sigterm: 900, sigstop: 500}, c.target)
	require.Equal(t, time.Hour, c.time)
	c, err = parse(nil)
	require.NoError(t, err)
	require.Equal(t, 50, c.kills)
	require.Equal(t, 5000, c.rate)

	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"argument":       {[]string{"50"}, `unexpected argument "50"`},
		"two targets":    {[]string{"-target", "1,2", "-state", "dir"}, "want three numbers"},
		"words":          {[]string{"-target", "1,2,x", "-state", "dir"}, "want three numbers"},
		"forgotten sums": {[]string{"-target", "1,2,3"}, "-target needs -state"},
		"all frozen":     {[]string{"-workers", "3", "-frozen", "3"}, "less than -workers"},
		"no records":     {[]string{"-rate", "0"}, "must be positive"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(tc.args)
			require.ErrorContains(t, err, tc.says)
		})
	}
	_, err = parse([]string{"-h"})
	require.ErrorIs(t, err, flag.ErrHelp)
}

// TestRoundsReachTheTarget adds up rounds until none is left.
func TestRoundsReachTheTarget(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config config
		before totals // of earlier runs
		want   map[string]int
		rounds int
	}{
		"kills": {config{kills: 120, round: 50}, totals{}, map[string]int{sigkill: 48, sigterm: 48, sigstop: 24}, 3},
		"few":   {config{kills: 3, round: 50}, totals{}, map[string]int{sigkill: 2, sigterm: 1}, 1},
		"target": {
			config{round: 100, target: map[string]int{sigkill: 200, sigterm: 100, sigstop: 1}},
			totals{Counts: map[string]int{sigkill: 50, sigterm: 300}},
			map[string]int{sigkill: 150, sigstop: 1},
			2,
		},
		"reached": {
			config{round: 100, target: map[string]int{sigkill: 2}},
			totals{Counts: map[string]int{sigkill: 2}},
			map[string]int{},
			0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run, sum := totals{}, tc.before
			sum.Counts = map[string]int{}
			for kind, n := range tc.before.Counts {
				sum.Counts[kind] = n
			}
			for next := tc.config.next(run, sum); next != nil; next = tc.config.next(run, sum) {
				require.Less(t, run.Rounds, 10)
				p := newPlan(next, time.Second, 1)
				require.LessOrEqual(t, len(p.kills), tc.config.round+2, "rounded up for three kinds")
				var c counts
				for _, kind := range p.kills {
					c.add(kind)
				}
				run.add(totals{Rounds: 1, Counts: c.all()})
				sum.add(totals{Rounds: 1, Counts: c.all()})
			}
			got := map[string]int{}
			for kind, n := range run.Counts {
				got[kind] = n
			}
			require.Equal(t, tc.want, got)
			require.Equal(t, tc.rounds, run.Rounds)
		})
	}
}
