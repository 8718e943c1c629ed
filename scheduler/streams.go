package scheduler

import (
	"fmt"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// stream is a stream that this worker reads, or has read. It is safe for concurrent use.
type stream struct {
	streamIdentity
	metrics   *metrics.Stream
	lineage   *lineage
	placing   placing
	retention retention
	lookups   *efo.Lookups
	absent    absences
	consumer  streamConsumer
	sync      syncState
	examining *retry.Shared // failing shards share one call that asks whether the stream was deleted
	stopped   chan struct{} // closed when reading the stream ends

	mu      sync.Mutex // guards stopErr
	stopErr error
}

func newStream(id streamIdentity, l *lineage) *stream {
	return &stream{
		streamIdentity: id, lineage: l, lookups: efo.NewLookups(),
		placing: placing{shared: retry.NewShared()}, retention: retention{shared: retry.NewShared()},
		consumer: streamConsumer{registering: retry.NewShared()}, examining: retry.NewShared(), stopped: make(chan struct{}),
	}
}

// err returns the error that ended reading the stream, or nil.
func (st *stream) err() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.stopErr
}

// stop ends reading the stream: it asks the consumers to finish, and keeps the rows. It returns
// false if an earlier call has stopped the stream.
func (st *stream) stop(err error) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stopErr != nil {
		return false
	}
	st.stopErr = err
	close(st.stopped)
	return true
}

// accepts tells whether the lease of a row may be taken: the stream is being read, and the row was
// made for this stream and this application.
func (st *stream) accepts(row leases.Lease) bool {
	return st.err() == nil && st.sync.isClaimed() && st.sameCreation(row.StreamCreated) && st.marks.Check(row) == nil
}

// status returns the time of the last good synchronisation, and the stream's error.
func (st *stream) status() (time.Time, error) {
	synced, err := st.sync.status()
	if stopped := st.err(); stopped != nil {
		err = stopped
	}
	return synced, err
}

// trouble returns the error of the whole stream for Healthy.
func (st *stream) trouble(now time.Time, limit, interval time.Duration) error {
	if err := st.err(); err != nil {
		return fmt.Errorf("scheduler: stream %s is no longer read: %w", st.label, err)
	}
	return st.sync.trouble(now, limit, interval, st.label)
}

// streamConsumer is the stream consumer of enhanced fan-out, or the error that prevents one.
type streamConsumer struct {
	registering *retry.Shared // shards that lose the consumer share one registration

	mu       sync.Mutex // guards the fields below
	current  string     // the ARN; empty without a consumer
	missing  error      // why there is no consumer
	register schedule   // when to register again
}

func (c *streamConsumer) arn() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

func (c *streamConsumer) set(arn string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.missing, c.register = arn, nil, schedule{}
}

// remove records that there is no consumer, and why. It changes nothing and returns false if the
// consumer is not the one with the ARN old.
func (c *streamConsumer) remove(old string, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != old {
		return false
	}
	c.current, c.missing = "", err
	c.register.failed(time.Now())
	return true
}

// err returns the error that prevents a consumer, or nil.
func (c *streamConsumer) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.missing
}

// registerAt returns when to register the consumer again.
func (c *streamConsumer) registerAt() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.register.due
}
