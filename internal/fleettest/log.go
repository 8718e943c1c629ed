package fleettest

import (
	"strings"
	"sync"
)

// Log keeps what is logged. The zero value is empty. It is safe for concurrent use.
type Log struct {
	mu    sync.Mutex // guards lines
	lines []string
}

// Write implements io.Writer. Each call is one line.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

// Take returns the lines that were logged since the last call, and forgets them.
func (l *Log) Take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// String returns the lines that Take has not returned.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}
