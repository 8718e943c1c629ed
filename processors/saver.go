package processors

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/usercode"
)

// DefaultInterval is the default of Checkpoints.Interval.
const DefaultInterval = 5 * time.Second

// Checkpoints says when [Func], [Each] and [Concurrent] checkpoint automatically. They do so when
// one of the limits is reached. They also do so when the worker stops, and when the shard is handed
// over or ends. A checkpoint covers only records that are processed. A checkpoint that fails is
// logged and tried again when the next is due. The error of the last checkpoint is returned.
type Checkpoints struct {
	// Records is after how many records. Defaults to 0, no limit.
	Records int
	// Bytes is after how many bytes of data. Defaults to 0, no limit.
	Bytes int64
	// Interval is the longest time that a processed record goes without a checkpoint, on an idle
	// shard too. Defaults to 5s (DefaultInterval). A negative value means no limit.
	Interval time.Duration
}

// saver writes the automatic checkpoints of one shard. It is safe for concurrent use.
type saver struct {
	limits Checkpoints
	log    *slog.Logger
	slot   chan struct{} // holds a token while a write is under way

	mu      sync.Mutex // guards the fields below
	ck      kcl.Checkpointer
	pos     kcl.ExtendedSequenceNumber // the last record before which all are processed
	saved   kcl.ExtendedSequenceNumber
	records int   // since the last checkpoint by number or size
	bytes   int64 // likewise
	timer   *time.Timer
	armed   bool
	stopped bool
}

func newSaver(limits Checkpoints, log *slog.Logger) *saver {
	limits.Interval = cmp.Or(limits.Interval, DefaultInterval)
	return &saver{limits: limits, log: orDefault(log), slot: make(chan struct{}, 1)}
}

func orDefault(log *slog.Logger) *slog.Logger {
	return usercode.Logger(cmp.Or(log, slog.Default()))
}

func (s *saver) use(ck kcl.Checkpointer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ck = ck
}

func (s *saver) checkpointer() kcl.Checkpointer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ck
}

// add says that everything up to pos is processed, and by how many records and bytes that is more.
// It writes a checkpoint if one is due by number or size. ctx must live as long as the lease.
func (s *saver) add(ctx context.Context, pos kcl.ExtendedSequenceNumber, records int, bytes int64) {
	s.mu.Lock()
	s.pos = later(s.pos, pos) // two lanes may call add in the wrong order
	s.records += records
	s.bytes += bytes
	due := s.limits.Records > 0 && s.records >= s.limits.Records || s.limits.Bytes > 0 && s.bytes >= s.limits.Bytes
	if due {
		s.records, s.bytes = 0, 0
	}
	s.armLocked(ctx)
	s.mu.Unlock()
	if due {
		s.try(ctx)
	}
}

// armLocked starts the timer of Interval. Its goroutine ends after one checkpoint, or with ctx.
func (s *saver) armLocked(ctx context.Context) {
	if s.armed || s.stopped || s.limits.Interval < 0 {
		return
	}
	s.armed = true
	s.timer = time.AfterFunc(s.limits.Interval, func() {
		s.mu.Lock()
		s.armed = false
		idle := s.stopped || s.pos == s.saved
		s.mu.Unlock()
		if !idle {
			s.try(ctx)
		}
	})
}

// try writes a checkpoint. If that fails, it logs the error and tries again after Interval.
func (s *saver) try(ctx context.Context) {
	err := s.write(ctx, false)
	if err == nil || ctx.Err() != nil || errors.Is(err, kcl.ErrLeaseLost) {
		return
	}
	s.log.WarnContext(ctx, "automatic checkpoint failed, trying again", "err", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armLocked(ctx)
}

// write records pos. final says that no other checkpoint follows. Then the timer stops, and write
// asks the checkpointer even if it has the position, because skipped records may follow the
// position.
func (s *saver) write(ctx context.Context, final bool) error {
	select {
	case s.slot <- struct{}{}:
		defer func() { <-s.slot }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.mu.Lock()
	if final {
		s.stopLocked()
	}
	ck, pos, known := s.ck, s.pos, s.pos == s.saved
	stopped := s.stopped
	s.mu.Unlock()
	if pos.IsZero() || !final && (known || stopped) {
		return nil
	}
	if err := ck.CheckpointAt(ctx, pos); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = later(s.saved, pos)
	return nil
}

// finish writes the last checkpoint, by ck.
func (s *saver) finish(ctx context.Context, ck kcl.Checkpointer) error {
	s.use(ck)
	return s.write(ctx, true)
}

// stop ends the timer and waits for a running write.
func (s *saver) stop(ctx context.Context) {
	s.mu.Lock()
	s.stopLocked()
	s.mu.Unlock()
	select {
	case s.slot <- struct{}{}:
		<-s.slot
	case <-ctx.Done():
	}
}

func (s *saver) stopLocked() {
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
