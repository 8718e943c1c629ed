//go:build race

package efo_test

const raceEnabled = true
