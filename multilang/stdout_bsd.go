//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package multilang

import "syscall"

// redirect makes descriptor to another name of descriptor from.
func redirect(from, to int) error { return syscall.Dup2(from, to) }
