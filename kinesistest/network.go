package kinesistest

import "time"

// Kill silences the host of that name for ever, as when the process of a worker is killed: nothing that its clients send
// arrives, nothing reaches them, and neither side is told. See [Server.HTTPClientFrom]. On a TCP port it does nothing.
func (s *Server) Kill(host string) {
	if s.network != nil {
		s.network.Host(host).Kill()
	}
}

// Partition holds back all bytes between the server and the host of that name until heal is called; nothing is lost and
// neither side is told. See [Server.HTTPClientFrom]. On a TCP port it does nothing.
func (s *Server) Partition(host string) (heal func()) {
	if s.network == nil {
		return func() {}
	}
	link := s.network.Link(memHost, host)
	link.Hold()
	return link.Release
}

// SetLatency sets how long bytes need between the server and the host of that name, each way. Default: no time. See
// [Server.HTTPClientFrom]. On a TCP port it does nothing.
func (s *Server) SetLatency(host string, d time.Duration) {
	if s.network != nil {
		s.network.Link(memHost, host).SetLatency(d)
	}
}
