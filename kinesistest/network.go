package kinesistest

import "time"

// Kill silences the host of that name for ever, as when the process of a worker is killed. No
// request of its clients arrives, no answer reaches them, and neither side notices. See
// [Server.HTTPClientFrom]. On a TCP port Kill does nothing.
func (f *front) Kill(host string) {
	if f.network != nil {
		f.network.Host(host).Kill()
	}
}

// Partition holds back all bytes between the server and the host of that name until heal is called.
// No byte is lost, and neither side notices. See [Server.HTTPClientFrom]. On a TCP port Partition
// does nothing.
func (f *front) Partition(host string) (heal func()) {
	if f.network == nil {
		return func() {}
	}
	link := f.network.Link(memHost, host)
	link.Hold()
	return link.Release
}

// SetLatency sets how long bytes need between the server and the host of that name, each way.
// Default: no time. See [Server.HTTPClientFrom]. On a TCP port SetLatency does nothing.
func (f *front) SetLatency(host string, d time.Duration) {
	if f.network != nil {
		f.network.Link(memHost, host).SetLatency(d)
	}
}
