package multilang

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// repeat calls the processor until it succeeds, or until the lease is lost. In the latter case it
// returns nil too: the daemon gets its status, and then says that the lease is lost.
func (s *session) repeat(work context.Context, call func() error) error {
	for attempt := 1; work.Err() == nil; attempt++ {
		err := s.during(call, 0)
		switch {
		case err == nil:
			return nil
		case s.stop != nil:
			return s.stop
		case work.Err() != nil:
			s.log.InfoContext(work, "processor failed after the lease was lost", "err", err)
			return nil //nolint:nilerr // the next message says that the lease is lost
		case attempt >= s.options.Attempts || !repeatable(err):
			return err
		}
		s.log.WarnContext(work, "processor failed, calling it again", "attempt", attempt, "err", err)
		s.pause(work, attempt)
	}
	if s.stop == nil {
		s.log.InfoContext(work, "not calling the processor, the lease is lost")
	}
	return s.stop
}

// repeatable tells whether the processor may be called again after err.
func repeatable(err error) bool {
	_, panicked := errors.AsType[*usercode.Panic](err)
	return !panicked && !errors.Is(err, kcl.ErrRestart)
}

// pause waits after failed attempts. It serves checkpoints meanwhile.
func (s *session) pause(work context.Context, failed int) {
	_ = s.during(func() error {
		timer := time.NewTimer(s.options.backoff(failed))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-work.Done():
		}
		return nil
	}, 0)
}

// during runs call and serves the checkpoints that are asked for, until call has returned. If limit
// is not 0, the processor's context ends after it, and call must return within a second. during
// returns s.stop if the conversation cannot go on.
func (s *session) during(call func() error, limit time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- usercode.Call(call) }() // ends with call
	var timer <-chan time.Time
	if limit > 0 {
		timer = time.After(limit)
	}
	for late := false; s.stop == nil; {
		select {
		case err := <-done:
			s.answerWaiting()
			if s.stop != nil {
				return s.stop
			}
			return err
		case r := <-s.requests:
			s.serve(r)
		case m := <-s.messages:
			s.early(m)
		case <-s.quit:
			s.fail(s.quitCause())
		case <-timer:
			s.cancel(kcl.ErrShutdownTimeout)
			timer = time.After(time.Second)
			if late {
				s.leave()
				s.fail(kcl.ErrShutdownTimeout)
				return s.stop
			}
			late = true
		}
	}
	s.await(done)
	return s.stop
}

// early takes a message that comes before the status of the running action.
func (s *session) early(m message) {
	switch {
	case m.err != nil:
		s.fail(m.err)
	case m.Action == protocol.Checkpoint || !m.Known():
		s.log.Warn("ignoring a message that came before the status of the last one", "action", m.Action)
	default:
		s.fail(fmt.Errorf("the daemon sent %s before it had the status of the last action", m.Action))
	}
}

// await waits for a call whose context has ended.
func (s *session) await(done <-chan error) {
	timer := time.NewTimer(s.options.ShutdownTimeout + time.Second)
	defer timer.Stop()
	select {
	case err := <-done:
		if err != nil {
			s.log.Info("running call of the processor has ended", "err", err)
		}
	case <-timer.C:
		s.leave()
	}
}

// leave goes on without a call that does not return.
func (s *session) leave() {
	s.stuck = true
	s.log.Error("processor does not return, going on without it", "timeout", s.options.ShutdownTimeout)
}

// leaseLost calls LeaseLost. The processor's context has ended.
func (s *session) leaseLost(work context.Context) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(work), s.options.ShutdownTimeout,
		kcl.ErrShutdownTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { // ends with the call
		done <- usercode.Call(func() error {
			s.processor.LeaseLost(ctx, kcl.LeaseLostInput{})
			return nil
		})
	}()
	s.await(done)
}

// answerWaiting serves the checkpoints that other goroutines wait for.
func (s *session) answerWaiting() {
	for s.stop == nil {
		select {
		case r := <-s.requests:
			s.serve(r)
		default:
			return
		}
	}
}

// serve asks the daemon for a checkpoint of a goroutine of the processor.
func (s *session) serve(r request) {
	if err := r.gone(); err != nil {
		r.answer <- err
		return
	}
	position, done := s.progress.wire(r.target)
	if done {
		r.answer <- nil
		return
	}
	err := s.ask(position)
	if err == nil {
		s.progress.accept(r.target.position)
	}
	r.answer <- err
}

// ask asks the daemon for a checkpoint and waits for the answer. A nil position is everything that
// was delivered. The daemon reads a checkpoint only while it waits for a status.
func (s *session) ask(position *kcl.ExtendedSequenceNumber) error {
	if err := s.writer.Checkpoint(position, position != nil && position.SubSequenceNumber != 0); err != nil {
		s.fail(fmt.Errorf("write a checkpoint: %w", err))
		return s.lost()
	}
	for {
		m, err := s.next()
		switch {
		case err != nil:
			s.fail(err)
			return s.lost()
		case m.Action == protocol.Checkpoint:
			return s.answered(m.Error, position)
		case m.Known():
			s.fail(fmt.Errorf("the daemon sent %s in place of the answer to a checkpoint", m.Action))
			return s.lost()
		}
		s.log.Warn("ignoring a message that came before the answer to a checkpoint", "action", m.Action)
	}
}

// lost is what a checkpoint returns when the conversation has ended: whether it is written is not
// known.
func (s *session) lost() error {
	return s.checkpointer.cause()
}

// answered makes an error of the name that the daemon has answered.
func (s *session) answered(exception string, position *kcl.ExtendedSequenceNumber) error {
	if exception == "" {
		return nil
	}
	err := &DaemonError{Exception: exception}
	if position != nil {
		err.Position = *position
	}
	if errors.Is(err, kcl.ErrLeaseLost) {
		s.cancel(kcl.ErrLeaseLost)
	}
	return err
}
