package coordinator

import "context"

// loop is a goroutine that can be started and stopped.
type loop struct {
	cancel context.CancelFunc // nil while the loop shall not run
	done   chan struct{}      // closed when the last run has ended; nil before the first run
}

// set starts run if shallRun, and stops it otherwise. It does nothing when run is in that state
// already. It does not wait for the end, which may take several calls of the store. A new run
// begins after the previous one has ended.
func (l *loop) set(ctx context.Context, shallRun bool, run func(ctx context.Context)) {
	if shallRun == (l.cancel != nil) {
		return
	}
	if !shallRun {
		l.cancel()
		l.cancel = nil
		return
	}
	ctx, l.cancel = context.WithCancel(ctx)
	previous, done := l.done, make(chan struct{})
	l.done = done
	go func() { // ends with ctx; wait waits for it
		defer close(done)
		if previous != nil {
			<-previous
		}
		run(ctx)
	}()
}

// wait waits until the loop has ended with the context that it was started with.
func (l *loop) wait() {
	if l.done != nil {
		<-l.done
	}
	if l.cancel != nil {
		l.cancel()
	}
}
