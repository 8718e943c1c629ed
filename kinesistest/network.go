package kinesistest

import "time"

// Kill silences the host of that name for ever, as when the process of a worker is killed. No
// request of its clients arrives, no answer reaches them, and neither side notices. See
// [Server.HTTPClientFrom]. On a TCP port Kill does nothing.
func (s *Server) Kill(host string) {
	if s.network != nil {
		s.network.Host(host).Kill()
	}
}

// Partition holds back all bytes between the server and the host of that name until heal is called.
// No byte is lost, and neither side notices. See [Server.HTTPClientFrom]. On a TCP port Partition
// does nothing.
func (s *Server) Partition(host string) (heal func()) {
	if s.network == nil {
		return func() {}
	}
	link := s.network.Link(memHost, host)
	link.Hold()
	return link.Release
}

// SetLatency sets how long bytes need between the server and the host of that name, each way.
// Default: no time. See [Server.HTTPClientFrom]. On a TCP port SetLatency does nothing.
func (s *Server) SetLatency(host string, d time.Duration) {
	if s.network != nil {
		s.network.Link(memHost, host).SetLatency(d)
	}
}
