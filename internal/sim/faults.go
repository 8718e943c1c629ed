package sim

import (
	"math"
	"slices"
)

// faults are the enabled faults of a world.
type faults struct {
	callFaults, tableFaults, stepFaults []kind
	processorFaults                     map[string]kind
}

// enable returns the faults of a scenario. The rate of each varies between worlds: it is a tenth to
// three times that of the menu.
func enable(s Scenario) faults {
	f := faults{processorFaults: map[string]kind{}}
	d := dice(s.Seed).roll("rates")
	for _, k := range menu {
		if !s.Has(k.name) {
			continue
		}
		k.rate *= 0.1 * math.Pow(30, d.roll(k.name).float())
		switch {
		case k.call != nil:
			f.callFaults = append(f.callFaults, k)
		case k.table != nil || k.dynamodb != nil:
			f.tableFaults = append(f.tableFaults, k)
		case k.step != nil:
			f.stepFaults = append(f.stepFaults, k)
		default:
			f.processorFaults[k.name] = k
		}
	}
	return f
}

// fits tells whether the fault can happen in a world with a kind of lease table.
func (k kind) fits(table string) bool {
	if table == dynamodbTable {
		return k.table == nil || k.dynamodb != nil
	}
	return k.dynamodb == nil || k.table != nil
}

// hits tells whether the fault happens to a call of op, by the dice of the call.
func (k kind) hits(d dice, op string) bool {
	return (k.ops == nil || slices.Contains(k.ops, op)) && d.roll(k.name).chance(k.rate)
}

// strikes tells whether the fault happens now to a call of op by a worker, about a shard. If it
// does, the world counts and notes it.
func (k kind) strikes(w *World, d dice, worker, op, shard string) bool {
	if !w.faulty.Load() || !k.hits(d, op) {
		return false
	}
	w.tally.add(k.name)
	w.check.Note(shard, "%s: %s of %s", worker, k.name, op)
	return true
}
