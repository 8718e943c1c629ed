//go:build !linux

package main

// systemLimits knows no limits on this system.
func systemLimits() limits { return limits{descriptors: -1, processes: -1} }
