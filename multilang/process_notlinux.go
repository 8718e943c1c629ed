//go:build !linux

package multilang

import "os"

// loop runs the functions. Only on Linux it matters on which thread.
func (f *forker) loop() {
	defer close(f.ended)
	for {
		select {
		case call := <-f.calls:
			call()
		case <-f.over:
			return
		}
	}
}

// wait waits for the process. What it leaves behind lives on.
func (p *osProcess) wait() (*os.ProcessState, error) {
	state, err := p.proc.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	return state, err
}
