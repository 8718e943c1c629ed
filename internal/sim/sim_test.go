package sim

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	scenario = flag.String("scenario", "", "play this scenario, such as \"seed=1 faults=kill,split\"; "+
		"words without a seed hold for all seeds that are played")
	seed  = flag.Uint64("seed", 0, "play seeds from this one on; 0 picks one")
	seeds = flag.Int("seeds", 0, "how many seeds to play")
	cpu   = flag.Duration("cpu-time", 0, "play seeds for this CPU time of the process")
	first = flag.Bool("first", false, "stop at the first violation")
)

// TestScenarios plays the kept scenarios: those that once showed a defect, and some of each kind.
func TestScenarios(t *testing.T) {
	f, err := os.Open("testdata/scenarios.txt")
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(text) == "" {
			continue
		}
		s, err := ParseScenario(text)
		require.NoError(t, err)
		t.Run(fmt.Sprint("seed ", s.Seed), func(t *testing.T) {
			t.Parallel()
			play(t, s)
		})
	}
	require.NoError(t, lines.Err())
}

// TestSim plays one scenario, or new seeds: make sim.
func TestSim(t *testing.T) {
	if strings.Contains(*scenario, "seed=") {
		s, err := ParseScenario(*scenario)
		require.NoError(t, err)
		play(t, s)
		return
	}
	from := *seed
	if from == 0 {
		from = rand.Uint64N(1 << 40)
	}
	for i := uint64(0); i < uint64(*seeds) || cpuTime(t) < *cpu; i++ {
		s, err := ParseScenario(fmt.Sprintf("seed=%d %s", from+i, *scenario))
		require.NoError(t, err)
		t.Run(fmt.Sprint("seed ", s.Seed), func(t *testing.T) { play(t, s) })
		if *first && t.Failed() {
			return
		}
	}
}

// cpuTime returns the CPU time of this process.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func play(t *testing.T, s Scenario) {
	began := time.Now()
	r := Play(t, s)
	t.Logf("%s: virtual %s real %s drain %s hash %x %+v faults %v", s, r.Virtual.Round(time.Second),
		time.Since(began).Round(time.Millisecond), r.Drain.Round(time.Second), r.Hash, r.Counts, r.Faults)
	if len(r.Violations) > 0 {
		t.Errorf("repeat with: make sim SCENARIO='%s'\n%s\n%s", s, r.Violations[0], r.Report)
	}
}
