//go:build unix && !linux

package main

import (
	"errors"
	"syscall"
)

// Resources of prlimit(2), which only Linux has.
const (
	limitFileSize     = 0
	limitAddressSpace = 0
	unlimited         = ^uint64(0)
	limitsWork        = false
)

func limit(int, int, uint64) error { return errors.ErrUnsupported }

func child() *syscall.SysProcAttr { return nil }

func memory(int, string) uint64 { return 0 }

func descriptors(int) (all, sockets int) { return 0, 0 }
