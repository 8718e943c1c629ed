// Package testsize chooses how large a long test is. A test of a large fleet or of a long history
// has three sizes:
//
//   - quick, under -short: make quick and make race;
//   - usual, without a flag: make test;
//   - full, under -long: make long, for all that the smaller sizes leave out.
//
// Only tests import it. It defines the flag -long.
package testsize

import (
	"flag"
	"maps"
	"slices"
	"testing"
)

var long = flag.Bool("long", false, "run the largest fleets and the longest histories at full size")

// Pick returns one of three sizes. Tests call it after the flags were parsed, not in a variable of
// the package.
func Pick[T any](quick, usual, full T) T {
	switch {
	case *long:
		return full
	case testing.Short():
		return quick
	}
	return usual
}

// Some returns all cases of a table, and under -short only quick of them: the first by name, and
// others at equal distances.
func Some[V any](quick int, cases map[string]V) map[string]V {
	quick = Pick(quick, len(cases), len(cases))
	names, chosen := slices.Sorted(maps.Keys(cases)), map[string]V{}
	for i := range min(quick, len(names)) {
		name := names[i*len(names)/quick]
		chosen[name] = cases[name]
	}
	return chosen
}
