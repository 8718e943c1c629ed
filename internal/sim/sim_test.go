package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	scenario = flag.String("scenario", "", "play this scenario, such as \"seed=1 faults=kill\"")
	first    = flag.Uint64("seed", 0, "play seeds from this one on; 0 picks one")
	count    = flag.Int("seeds", 3, "how many seeds to play")
)

func TestSim(t *testing.T) {
	if *scenario != "" {
		s, err := ParseScenario(*scenario)
		if err != nil {
			t.Fatal(err)
		}
		play(t, s)
		return
	}
	seed := *first
	if seed == 0 {
		seed = rand.Uint64N(1 << 40)
	}
	for i := range uint64(*count) {
		s := Draw(seed + i)
		t.Run(fmt.Sprint("seed ", s.Seed), func(t *testing.T) { play(t, s) })
	}
}

func play(t *testing.T, s Scenario) {
	began := time.Now()
	r := Play(t, s)
	t.Logf("%s: virtual %s real %s drain %s hash %x %+v faults %v", s, r.Virtual.Round(time.Second), time.Since(began).Round(time.Millisecond), r.Drain.Round(time.Second), r.Hash, r.Counts, r.Faults)
	if len(r.Violations) > 0 {
		t.Errorf("%s\n%s\n%s", s, r.Violations[0], r.Report)
	}
}
