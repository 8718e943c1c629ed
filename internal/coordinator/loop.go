package coordinator

import "context"

// loop is a goroutine that can be started and stopped.
type loop struct {
	cancel context.CancelFunc // nil while the loop shall not run
	done   chan struct{}      // closed when the last run has ended; nil before the first run
}

// set starts run or stops it, unless it already runs or stands still. It does not wait for the end,
// which may take several calls of the store. A new run begins after the one before has ended.
func (l *loop) set(ctx context.Context, on bool, run func(ctx context.Context)) {
	if on == (l.cancel != nil) {
		return
	}
	if !on {
		l.cancel()
		l.cancel = nil
		return
	}
	ctx, l.cancel = context.WithCancel(ctx)
	before, done := l.done, make(chan struct{})
	l.done = done
	go func() { // ends with ctx; wait waits for it
		defer close(done)
		if before != nil {
			<-before
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
