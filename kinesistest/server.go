package kinesistest

import (
	"sync"
	"testing"
)

// Server is a running fake Kinesis. Start one with [Start] or [New]. All methods may be called from
// any goroutine.
type Server struct {
	front
	backend   *backend
	faults    *faults
	closeOnce sync.Once
}

// Start starts a server. It fails if the configuration is wrong or the address of [Config.Listen]
// is not available. Call [Server.Close] at the end. Inside a testing/synctest bubble, start and
// close it inside the bubble.
func Start(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Server{front: front{cfg: cfg}, backend: newBackend(cfg), faults: newFaults()}
	s.handler = s
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

// New is [Start] for tests. It fails the test instead of returning an error, and closes the server
// when the test ends.
func New(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	s, err := Start(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Close stops the server. It closes the listener and every connection, and waits for every request
// to end. It may be called more than once.
func (s *Server) Close() {
	s.closeOnce.Do(func() {
		s.shutDown(s.faults.close)
		s.backend.close()
	})
}
