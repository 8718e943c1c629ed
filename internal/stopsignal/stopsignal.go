// Package stopsignal ends a program gracefully at its first signal, and at once at its second. The
// mains of cmd and examples use it.
package stopsignal

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// Context returns a context that ends at the first SIGINT or SIGTERM. Its cause names the signal.
// Each later signal has its default effect: it ends the process at once. Call Context once.
func Context() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends after the first signal, or with the process
		first := <-signals
		cancel(errors.New(first.String() + " signal received"))
		signal.Stop(signals)
		// A second signal may have come before Stop had an effect. Then it waits in the channel.
		select {
		case second := <-signals:
			repeat(second)
		default:
		}
	}()
	return ctx
}

// repeat sends a signal to this process, which ends by it.
func repeat(s os.Signal) {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(s)
	}
	if err != nil { // the system cannot send signals
		os.Exit(1)
	}
}
