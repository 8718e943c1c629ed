package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/scheduler"
)

// Scenario is a world in few words. Two plays of one scenario make the same decisions.
type Scenario struct {
	// Seed decides all that the other fields leave open.
	Seed uint64
	// Kind is swarm (random faults), liveness (kills and hand-overs alone, with bounds in time) or
	// quiet (no fault at all).
	Kind string
	// Length is how long faults last. After it everything heals, and all records must be processed.
	Length time.Duration
	// Shards is how many shards the stream begins with.
	Shards int
	// Workers is how many workers may run at the same time.
	Workers int
	// Mode is the way to read.
	Mode scheduler.RetrievalMode
	// Table is the kind of the lease table.
	Table string
	// Start is where the application begins: TRIM_HORIZON or LATEST.
	Start kcl.PositionKind
	// Processor is the style of the processors.
	Processor string
	// Decorator is the decorator around the processors.
	Decorator string
	// Faults are the names of the enabled faults, sorted.
	Faults []string
}

// The kinds of Scenario.Kind.
const (
	swarm    = "swarm"
	liveness = "liveness"
	quiet    = "quiet"
)

// Draw returns the scenario of a seed. Of 100 seeds, 10 are about liveness and 5 are quiet. The
// others have a random third of the menu.
func Draw(seed uint64) Scenario {
	d := dice(seed).roll("scenario")
	s := Scenario{
		Seed: seed, Kind: swarm,
		Length:    d.roll("length").skewed(3*time.Minute, 40*time.Minute).Round(time.Second),
		Shards:    1 + d.roll("shards").n(4),
		Workers:   1 + d.roll("workers").n(4),
		Mode:      scheduler.RetrievalMode(d.roll("mode").n(2)),
		Processor: styles[d.roll("processor").n(len(styles))],
	}
	if d.roll("start").chance(0.25) {
		s.Start = kcl.Latest
	}
	s.Decorator = decoratorNone
	if d.roll("decorated").chance(0.3) {
		s.Decorator = decorators[d.roll("decorator").n(len(decorators))]
	}
	switch table := d.roll("table").n(100); {
	case table < 35:
		s.Table = dynamodbTable
	case table < 45:
		s.Table = redisTable
	default:
		s.Table = memoryTable
	}
	switch kind := d.roll("kind").n(100); {
	case kind < 5:
		s.Kind = quiet
	case kind < 15:
		s.Kind = liveness
	}
	s.drawFaults()
	return s
}

// drawFaults draws the faults of a kind of world: none, a few that have bounds in time, or a random
// third of the menu.
func (s *Scenario) drawFaults() {
	s.Faults = nil
	switch s.Kind {
	case quiet:
	case liveness:
		s.Workers = max(2, s.Workers)
		s.Faults = []string{"kill", "start", "stop"}
	default:
		for _, k := range menu {
			if k.fits(s.Table) && dice(s.Seed).roll("fault", k.name).chance(1.0/3) {
				s.Faults = append(s.Faults, k.name)
			}
		}
		slices.Sort(s.Faults)
	}
}

// failover returns the FailoverTime of all workers.
func (s Scenario) failover() time.Duration {
	return time.Duration([]int{5, 10, 10, 10, 30}[dice(s.Seed).roll("failover").n(5)]) * time.Second
}

// Has tells whether a fault is enabled.
func (s Scenario) Has(fault string) bool {
	_, ok := slices.BinarySearch(s.Faults, fault)
	return ok
}

// String returns the scenario in the form that ParseScenario reads.
func (s Scenario) String() string {
	return fmt.Sprintf("seed=%d kind=%s length=%s shards=%d workers=%d mode=%s table=%s start=%s processor=%s "+
		"decorator=%s faults=%s", s.Seed, s.Kind, s.Length, s.Shards, s.Workers, s.Mode, s.Table, s.Start, s.Processor,
		s.Decorator, strings.Join(s.Faults, ","))
}

// ParseScenario reads the text of a scenario. Words that are missing are those of Draw.
func ParseScenario(text string) (Scenario, error) {
	words := map[string]string{}
	for _, word := range strings.Fields(text) {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return Scenario{}, fmt.Errorf("sim: %q is no name=value", word)
		}
		words[name] = value
	}
	seed, err := strconv.ParseUint(words["seed"], 10, 64)
	if err != nil {
		return Scenario{}, fmt.Errorf("sim: seed is %q: give a number", words["seed"])
	}
	s := Draw(seed)
	var errs []error
	for _, name := range []string{"kind", "table"} { // the faults depend on them
		if value, ok := words[name]; ok {
			errs = append(errs, s.set(name, value))
		}
	}
	s.drawFaults()
	for name, value := range words {
		if err := s.set(name, value); err != nil {
			errs = append(errs, fmt.Errorf("sim: %s is %q: %w", name, value, err))
		}
	}
	return s, errors.Join(errs...)
}

func (s *Scenario) set(name, value string) (err error) {
	switch name {
	case "seed":
	case "kind":
		if s.Kind = value; !slices.Contains([]string{swarm, liveness, quiet}, value) {
			err = errors.New("use swarm, liveness or quiet")
		}
	case "length":
		s.Length, err = time.ParseDuration(value)
	case "shards":
		s.Shards, err = strconv.Atoi(value)
	case "workers":
		s.Workers, err = strconv.Atoi(value)
	case "mode":
		if s.Mode = scheduler.EFO; value == scheduler.Polling.String() {
			s.Mode = scheduler.Polling
		}
	case "table":
		if s.Table = value; !slices.Contains(tableKinds, value) {
			err = fmt.Errorf("use one of %v", tableKinds)
		}
	case "start":
		err = s.Start.UnmarshalText([]byte(value))
	case "processor":
		if s.Processor = value; !slices.Contains(styles, value) {
			err = fmt.Errorf("use one of %v", styles)
		}
	case "decorator":
		if s.Decorator = value; !slices.Contains(decorators, value) {
			err = fmt.Errorf("use one of %v", decorators)
		}
	case "faults":
		s.Faults = strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
		slices.Sort(s.Faults)
		for _, fault := range s.Faults {
			if !slices.ContainsFunc(menu, func(k kind) bool { return k.name == fault }) {
				err = errors.Join(err, fmt.Errorf("there is no fault %q", fault))
			}
		}
	default:
		err = errors.New("there is no such word")
	}
	return err
}
