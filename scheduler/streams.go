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

// stream is one stream that is read. It is safe for concurrent use.
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
	examining *retry.Shared // shards that fail at the same time ask together whether the stream is gone
	stopped   chan struct{} // closed when the stream is not read any more

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

// err says why the stream is not read any more; nil while it is.
func (st *stream) err() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.stopErr
}

// stop ends reading the stream: its consumers are asked to finish. Its rows stay.
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

// accepts tells whether a row of this stream may be taken: the stream is being
// read, and the row was made for it and for this application.
func (st *stream) accepts(row leases.Lease) bool {
	return st.err() == nil && st.sync.isClaimed() && st.sameCreation(row.StreamCreated) && st.marks.Check(row) == nil
}

// status returns the time of the last good synchronisation, and what is wrong.
func (st *stream) status() (time.Time, error) {
	synced, err := st.sync.status()
	if stopped := st.err(); stopped != nil {
		err = stopped
	}
	return synced, err
}

// trouble is what Healthy reports of the stream as a whole.
func (st *stream) trouble(now time.Time, limit, interval time.Duration) error {
	if err := st.err(); err != nil {
		return fmt.Errorf("scheduler: stream %s is not read any more: %w", st.label, err)
	}
	return st.sync.trouble(now, limit, interval, st.label)
}

// streamConsumer is a stream's consumer of enhanced fan-out, if it has one.
type streamConsumer struct {
	registering *retry.Shared // shards that lose the consumer at the same time register together

	mu      sync.Mutex // guards the fields below
	current string     // ARN
	refused error      // why there is no consumer
	next    schedule   // of trying to register it again
}

func (c *streamConsumer) arn() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

func (c *streamConsumer) set(arn string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.refused, c.next = arn, nil, schedule{}
}

// refuse records why there is no consumer, unless the consumer is no longer was.
func (c *streamConsumer) refuse(was string, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != was {
		return false
	}
	c.current, c.refused = "", err
	c.next.failed(time.Now())
	return true
}

// refusal says why there is no consumer; nil if there is one.
func (c *streamConsumer) refusal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

// due says when to register again.
func (c *streamConsumer) due() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next.due
}
