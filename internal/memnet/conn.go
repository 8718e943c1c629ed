package memnet

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is one end of a connection: it reads one half and writes the other.
type conn struct {
	link          *Link
	rd, wr        *half
	local, remote Addr
	abort         atomic.Bool // Close resets
}

var _ net.Conn = (*conn)(nil)

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.rd.read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &net.OpError{Op: "read", Net: "mem", Source: c.local, Addr: c.remote, Err: err}
	}
	return n, err
}

// Write never blocks. It appends to the peer's buffer, or drops the bytes when a host was killed.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.wr.write(p); err != nil {
		return 0, &net.OpError{Op: "write", Net: "mem", Source: c.local, Addr: c.remote, Err: err}
	}
	return len(p), nil
}

// Close ends this side. Its own reads and writes fail from now on. The peer reads the bytes that
// were written before, and then io.EOF.
func (c *conn) Close() error {
	c.rd.closeReader()
	if c.abort.Load() {
		c.wr.cut(syscall.ECONNRESET)
	}
	c.wr.closeWriter()
	n := c.link.network
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(c.link.conns, c)
	return nil
}

// SetLinger is that of [net.TCPConn] for two values: with 0 Close resets the connection, and with a
// negative value it does not.
func (c *conn) SetLinger(seconds int) error {
	c.abort.Store(seconds == 0)
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	c.rd.setReadDeadline(t)
	c.wr.setWriteDeadline(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.rd.setReadDeadline(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.wr.setWriteDeadline(t)
	return nil
}

// chunk is bytes that may be read from the time at on. The zero time means at once.
type chunk struct {
	at   time.Time
	data []byte
}

// chunkSize is the size up to which small writes are gathered in one chunk.
const chunkSize = 64 << 10

// half is one direction of a connection.
type half struct {
	mu   sync.Mutex // guards the fields below; never held while waiting
	cond *sync.Cond // on mu: a field that read depends on has changed

	queue   []chunk
	spare   []byte        // the last chunk read empty, for the next write
	latency time.Duration // of the link
	held    bool          // the link is held: the reader sees nothing new
	dead    bool          // a host was killed: the reader sees nothing ever

	finished bool      // the writer closed: io.EOF after the queue
	finAt    time.Time // when the reader may see io.EOF
	stopped  bool      // the reader closed
	cutErr   error     // the link was reset
	ended    bool      // the link was ended

	readDeadline  time.Time
	writeDeadline time.Time
	readTimer     *time.Timer // wakes the reader at its deadline
	arrival       *time.Timer // wakes the reader when the first chunk arrives
}

func newHalf(latency time.Duration) *half {
	h := &half{latency: latency}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.stopped:
			return 0, net.ErrClosed
		case h.cutErr != nil && !h.dead:
			return 0, h.cutErr
		case expired(h.readDeadline):
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		}
		if !h.held && !h.dead {
			if len(h.queue) > 0 {
				if h.arrivedLocked(h.queue[0].at) {
					return h.takeLocked(p), nil
				}
			} else if h.finished && h.arrivedLocked(h.finAt) {
				return 0, io.EOF
			}
		}
		h.cond.Wait()
	}
}

// arrivedLocked tells whether the time at has come. If not, it sets a timer to wake the reader.
func (h *half) arrivedLocked(at time.Time) bool {
	if at.IsZero() {
		return true
	}
	left := time.Until(at)
	if left <= 0 {
		return true
	}
	if h.arrival == nil {
		h.arrival = time.AfterFunc(left, h.wake)
	} else {
		h.arrival.Reset(left)
	}
	return false
}

func (h *half) takeLocked(p []byte) int {
	total := 0
	for len(h.queue) > 0 && total < len(p) && (total == 0 || h.queue[0].at.IsZero()) {
		first := &h.queue[0]
		n := copy(p[total:], first.data)
		total += n
		if n < len(first.data) {
			first.data = first.data[n:]
			break
		}
		if cap(first.data) <= 2*chunkSize {
			h.spare = first.data[:0]
		}
		if len(h.queue) == 1 {
			h.queue = h.queue[:0]
		} else {
			first.data = nil
			h.queue = h.queue[1:]
		}
	}
	return total
}

func (h *half) write(p []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.finished && !h.ended:
		return net.ErrClosed
	case expired(h.writeDeadline):
		return os.ErrDeadlineExceeded
	case h.dead:
		return nil
	case h.cutErr != nil:
		return h.cutErr
	case h.ended:
		return syscall.EPIPE
	case h.stopped:
		if h.held { // the writer cannot know yet
			return nil
		}
		return syscall.EPIPE
	}
	if len(p) == 0 {
		return nil
	}
	var at time.Time
	if h.latency > 0 {
		at = time.Now().Add(h.latency)
	}
	if last := len(h.queue) - 1; last >= 0 {
		if h.queue[last].at.After(at) { // never overtake
			at = h.queue[last].at
		}
		if h.queue[last].at.Equal(at) && len(h.queue[last].data)+len(p) <= chunkSize {
			h.queue[last].data = append(h.queue[last].data, p...)
			h.cond.Broadcast()
			return nil
		}
	}
	h.queue = append(h.queue, chunk{at: at, data: append(h.spare, p...)})
	h.spare = nil
	h.cond.Broadcast()
	return nil
}

func (h *half) closeReader() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	h.queue, h.spare = nil, nil
	stop(h.readTimer)
	stop(h.arrival)
	h.cond.Broadcast()
}

func (h *half) closeWriter() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		h.ended = false // from now on writes report the close
		h.finished = true
		return
	}
	if h.finished {
		return
	}
	h.finished = true
	if h.latency > 0 {
		h.finAt = time.Now().Add(h.latency)
	}
	h.cond.Broadcast()
}

func (h *half) cut(reset error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reset != nil {
		h.cutErr = reset
		h.queue = nil
	} else if !h.finished {
		h.ended, h.finished = true, true
	}
	h.cond.Broadcast()
}

func (h *half) setGate(latency time.Duration, held, dead bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.latency, h.held, h.dead = latency, held, dead
	if dead {
		h.queue = nil
	}
	h.cond.Broadcast()
}

func (h *half) setReadDeadline(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readDeadline = t
	stop(h.readTimer)
	h.readTimer = nil
	if left := time.Until(t); !t.IsZero() && left > 0 && !h.stopped {
		h.readTimer = time.AfterFunc(left, h.wake)
	}
	h.cond.Broadcast()
}

// setWriteDeadline needs no timer: Write never waits.
func (h *half) setWriteDeadline(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writeDeadline = t
}

func (h *half) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cond.Broadcast()
}

func expired(deadline time.Time) bool { return !deadline.IsZero() && time.Until(deadline) <= 0 }

func stop(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}
