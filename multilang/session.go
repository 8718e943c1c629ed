package multilang

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// stage is how far the life of the processor has come.
type stage int

const (
	stageNew       stage = iota // not initialised
	stageReading                // gets records
	stageRequested              // ShutdownRequested has returned in time
	stageOver                   // gets no more calls
)

// session is the conversation with the daemon. All its methods run on the goroutine of Serve, which
// alone writes to the daemon. The parameter work is the processor's context.
type session struct {
	processor    kcl.Processor
	options      Options
	log          *slog.Logger
	stream       kcl.StreamIdentifier
	writer       *protocol.ChildWriter
	messages     <-chan message
	requests     chan request // checkpoints that wait for their turn
	checkpointer *checkpointer
	progress     *progress
	cancel       context.CancelCauseFunc // of work
	quit         <-chan struct{}         // closed when the caller of Serve wants its end
	quitCause    func() error

	stage   stage
	stop    error    // why the conversation cannot go on
	stuck   bool     // a call was left behind
	unknown []string // fields that were logged
}

// run talks to the daemon until one of both ends.
func (s *session) run(work context.Context) error {
	err := s.converse(work)
	s.fail(err)
	if s.stage == stageReading && !s.stuck {
		s.leaseLost(work)
	}
	if errors.Is(err, errInputEnded) {
		return nil
	}
	if p, ok := errors.AsType[*usercode.Panic](err); ok {
		s.log.ErrorContext(work, "processor panicked", "err", err, "stack", string(p.Stack))
	}
	return fmt.Errorf("multilang: %w", err)
}

func (s *session) converse(work context.Context) error {
	for {
		m, err := s.next()
		if err != nil {
			return err
		}
		s.logUnknown(m)
		if m.Action == protocol.Checkpoint {
			s.log.WarnContext(work, "ignoring the answer to a checkpoint that was not asked for")
			continue
		}
		if err := s.handle(work, m); err != nil {
			return err
		}
		if err := s.writer.Status(m.Action); err != nil {
			return fmt.Errorf("write the status of %s: %w", m.Action, err)
		}
	}
}

// next waits for the next message.
func (s *session) next() (message, error) {
	select {
	case m := <-s.messages:
		return m, m.err
	case <-s.quit:
		return message{}, s.quitCause()
	}
}

// logUnknown logs each unknown field once.
func (s *session) logUnknown(m message) {
	for _, name := range m.Unknown {
		if len(s.unknown) < 100 && !slices.Contains(s.unknown, name) {
			s.unknown = append(s.unknown, name)
			s.log.Info("ignoring a field that the daemon has sent", "action", m.Action, "field", name)
		}
	}
}

// fail ends the conversation, and the processor's context.
func (s *session) fail(err error) {
	if s.stop != nil {
		return
	}
	s.stop = err
	switch {
	case errors.Is(err, errInputEnded):
		s.cancel(kcl.ErrLeaseLost)
	default:
		s.cancel(fmt.Errorf("%w: the process ends: %w: %w", kcl.ErrLeaseLost, kcl.ErrRestart, err))
	}
}

// handle does what a message asks. Every daemon waits for the status of each action, also of one
// that this package does not know. Without it, the Java daemon would end itself.
func (s *session) handle(work context.Context, m message) error {
	action := m.Action
	if action == protocol.Shutdown {
		switch m.Reason {
		case protocol.ReasonShardEnded:
			action = protocol.ShardEnded
		case protocol.ReasonRequested:
			action = protocol.ShutdownRequested
		default:
			action = protocol.LeaseLost
		}
	}
	switch action {
	case protocol.Initialize:
		return s.initialize(work, m)
	case protocol.ProcessRecords:
		return s.processRecords(work, m)
	case protocol.ShardEnded:
		return s.shardEnded(work)
	case protocol.ShutdownRequested:
		return s.shutdownRequested(work)
	case protocol.LeaseLost:
		s.cancel(kcl.ErrLeaseLost)
		if s.stage == stageReading {
			s.leaseLost(work)
		}
		s.stage = stageOver
		return nil
	}
	s.log.WarnContext(work, "answering an action that is not known, without any effect", "action", action)
	return nil
}

func (s *session) initialize(work context.Context, m message) error {
	if s.stage != stageNew {
		return errors.New("the daemon sent initialize twice")
	}
	s.log = s.log.With("shard", m.ShardID)
	in := kcl.InitializeInput{Stream: s.stream, Shard: kcl.Shard{ID: m.ShardID}, Checkpoint: m.Position}
	if err := s.repeat(work, func() error { return s.processor.Initialize(work, in) }); err != nil {
		return s.explain("initialize the processor", err)
	}
	s.stage = stageReading
	return nil
}

func (s *session) processRecords(work context.Context, m message) error {
	if s.stage != stageReading {
		return errors.New("the daemon sent records outside the life of the processor")
	}
	if len(m.Records) == 0 {
		s.answerWaiting()
		return s.stop
	}
	s.progress.deliver(m.Records[len(m.Records)-1].Position())
	err := s.repeat(work, func() error {
		s.progress.setFailed(false)
		err := s.processor.ProcessRecords(work, kcl.ProcessRecordsInput{
			// A processor that changes the slice and fails gets the whole batch again.
			Records: slices.Clone(m.Records), BehindLatest: m.Behind, LagUnknown: !m.BehindKnown,
			ReceivedAt: m.receivedAt, DeliveredAt: time.Now(), Checkpointer: s.checkpointer,
		})
		s.progress.setFailed(err != nil)
		return err
	})
	if err != nil {
		return s.explain("process records", err)
	}
	return nil
}

func (s *session) shardEnded(work context.Context) error {
	if s.stage != stageReading && s.stage != stageRequested {
		return errors.New("the daemon sent shardEnded outside the life of the processor")
	}
	s.stage = stageReading
	s.progress.end()
	in := kcl.ShardEndedInput{Checkpointer: s.checkpointer}
	if err := s.repeat(work, func() error { return s.processor.ShardEnded(work, in) }); err != nil {
		return s.explain("end the shard", err)
	}
	if err := s.recordEnd(work); err != nil {
		return s.explain("checkpoint the end of the shard", err)
	}
	if work.Err() == nil {
		s.stage = stageOver
		s.cancel(kcl.ErrLeaseLost)
	}
	return nil
}

// explain says what failed, unless the conversation has ended.
func (s *session) explain(what string, err error) error {
	if s.stop != nil {
		return s.stop
	}
	return fmt.Errorf("%s: %w", what, err)
}

// recordEnd checkpoints the end of the shard, unless the lease is lost.
func (s *session) recordEnd(work context.Context) error {
	for attempt := 1; work.Err() == nil; attempt++ {
		err := s.ask(nil)
		switch {
		case err == nil || errors.Is(err, kcl.ErrLeaseLost):
			return s.stop
		case !passes(err) || attempt >= s.options.CheckpointAttempts:
			return err
		}
		s.pause(work, attempt)
	}
	return s.stop
}

func (s *session) shutdownRequested(work context.Context) error {
	if s.stage != stageReading || work.Err() != nil {
		return nil //nolint:nilerr // the lease is lost, or there is nothing to finish
	}
	in := kcl.ShutdownRequestedInput{Checkpointer: s.checkpointer}
	err := s.during(func() error { return s.processor.ShutdownRequested(work, in) }, s.options.ShutdownTimeout)
	if s.stop != nil {
		return s.stop
	}
	if err != nil {
		s.log.ErrorContext(work, "processor failed in ShutdownRequested", "err", err)
	}
	if p, ok := errors.AsType[*usercode.Panic](err); ok {
		return p
	}
	if work.Err() == nil {
		s.stage = stageRequested
		s.progress.refuse(kcl.ErrLeaseLost)
	}
	return nil
}
