//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTotalsGoOnInTheNextRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sum, err := load(dir)
	require.NoError(t, err)
	require.Zero(t, sum)
	round := totals{
		Rounds: 1, Failed: 1, Seconds: 100, Counts: map[string]int{sigkill: 3, sigstop: 1, "split": 2}, Starts: 5,
		Records: 1000, Duplicates: 40, Lost: 1, OutOfOrder: 2, Foreign: 3, Longest: 2 * time.Second,
	}
	for range 2 {
		sum, err = load(dir)
		require.NoError(t, err)
		sum.add(round)
		require.NoError(t, sum.save(dir))
		require.NoError(t, record(dir, round.String()))
	}
	sum, err = load(dir)
	require.NoError(t, err)
	require.Equal(t, totals{
		Rounds: 2, Failed: 2, Seconds: 200, Counts: map[string]int{sigkill: 6, sigstop: 2, "split": 4}, Starts: 10,
		Records: 2000, Duplicates: 80, Lost: 2, OutOfOrder: 4, Foreign: 6, Longest: 2 * time.Second,
	}, sum)
	require.Equal(t, "rounds=2 failed=2 seconds=200 sigkill=6 sigterm=0 sigstop=2 split=4 starts=10 records=2000 "+
		"duplicates=80 (10 a kill) lost=2 order=4 foreign=6 longest=2s", sum.String())
	results, err := os.ReadFile(filepath.Join(dir, resultsFile))
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(results), round.String()+"\n"))

	require.NoError(t, os.WriteFile(filepath.Join(dir, totalsFile), []byte("{"), 0o600))
	_, err = load(dir)
	require.ErrorContains(t, err, totalsFile, "a damaged file is never overwritten")
}

func TestTotalsWithoutFolder(t *testing.T) {
	t.Parallel()
	sum, err := load("")
	require.NoError(t, err)
	require.NoError(t, sum.save(""))
	require.NoError(t, record("", "line"))
}
