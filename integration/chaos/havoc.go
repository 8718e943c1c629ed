//go:build unix

package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/kinesis-go/kcl/integration/chaos/tcpproxy"
)

// Names of what is counted.
const (
	sigkill  = "sigkill"
	sigterm  = "sigterm"
	sigstop  = "sigstop"
	fullDisk = "disk"   // writes of the journal failed for some seconds
	noMemory = "memory" // the worker got no more memory for some seconds
)

const (
	frozenTime   = 30 * time.Second // from SIGSTOP to SIGCONT
	victimWait   = 15 * time.Second // for a worker that has processed something
	maxFaultTime = 12 * time.Second // of a fault of the network
	diskTime     = 6 * time.Second
	memoryTime   = 5 * time.Second
	spareBytes   = 4096    // beyond the journal, before a full disk
	spareMemory  = 8 << 20 // beyond the memory of the worker
)

// plan says what happens to the workers of a round.
type plan struct {
	kills  []string      // sigkill, sigterm and sigstop, in order
	every  time.Duration // between two of them, on the average
	frozen int           // workers that may be frozen at a time
}

// newPlan puts the kills in a random order.
func newPlan(counts map[string]int, every time.Duration, frozen int) plan {
	p := plan{every: every, frozen: frozen}
	for _, kind := range []string{sigkill, sigterm, sigstop} {
		for range counts[kind] {
			p.kills = append(p.kills, kind)
		}
	}
	rand.Shuffle(len(p.kills), func(i, j int) { p.kills[i], p.kills[j] = p.kills[j], p.kills[i] })
	return p
}

// havoc breaks the workers of a fleet.
type havoc struct {
	fleet  *fleet
	counts *counts
	wg     sync.WaitGroup // the faults of the network and of limits
	frozen chan struct{}  // one element for each frozen worker
}

// run carries out the plan with other faults beside it. It returns when all faults have ended. The
// network is whole then, and no worker is frozen.
func (h *havoc) run(ctx context.Context, p plan) {
	h.frozen = make(chan struct{}, p.frozen)
	faults, stop := context.WithCancel(ctx)
	defer h.wg.Wait()
	defer stop()
	for _, every := range []func(context.Context){h.network, h.limits} {
		h.wg.Go(func() { every(faults) }) // ends with faults
	}
	waiting := p.kills
	for len(waiting) > 0 && ctx.Err() == nil {
		pause(ctx, p.every/2+rand.N(p.every))
		kind := waiting[0]
		waiting = waiting[1:]
		if kind == sigstop && len(h.frozen) == cap(h.frozen) && !all(waiting, sigstop) {
			at := rand.IntN(len(waiting)) + 1 // later: enough workers are frozen
			waiting = append(waiting[:at:at], append([]string{kind}, waiting[at:]...)...)
			continue
		}
		h.kill(ctx, kind)
	}
	for range p.frozen { // the faults go on until no worker is frozen
		select {
		case h.frozen <- struct{}{}:
		case <-ctx.Done():
		}
	}
}

func all(kinds []string, kind string) bool {
	for _, k := range kinds {
		if k != kind {
			return false
		}
	}
	return true
}

// kill does one thing of the plan to a worker that has work, if there is one.
func (h *havoc) kill(ctx context.Context, kind string) {
	if kind == sigstop {
		select {
		case h.frozen <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
	for began := time.Now(); ctx.Err() == nil; pause(ctx, 50*time.Millisecond) {
		s := h.fleet.anyBusy()
		if s == nil && time.Since(began) > victimWait {
			s = h.fleet.slots[rand.IntN(len(h.fleet.slots))]
		}
		if s == nil {
			continue
		}
		switch kind {
		case sigkill:
			if _, ok := s.signal(syscall.SIGKILL, running, ending); !ok {
				continue
			}
		case sigterm:
			if !h.fleet.terminate(s) {
				continue
			}
		case sigstop:
			if _, ok := s.signal(syscall.SIGSTOP, running, frozen); !ok {
				continue
			}
			h.after(ctx, frozenTime, func() {
				s.signal(syscall.SIGCONT, frozen, running) // it cannot have ended
				<-h.frozen
			})
		}
		h.counts.add(kind)
		slog.Debug("fault", "kind", kind, "worker", s.index)
		return
	}
}

// after ends a fault after a time, or when ctx ends.
func (h *havoc) after(ctx context.Context, d time.Duration, end func()) {
	h.wg.Go(func() { // ends after d, or with ctx
		pause(ctx, d)
		end()
	})
}

// network breaks connections to Kinesis and to the table, a third of them at a time at most.
func (h *havoc) network(ctx context.Context) {
	broken := make(chan struct{}, max(1, 2*len(h.fleet.slots)/3))
	busy := map[*tcpproxy.Proxy]bool{}
	var mu sync.Mutex // guards busy
	for ctx.Err() == nil {
		pause(ctx, rand.N(time.Second))
		s := h.fleet.slots[rand.IntN(len(h.fleet.slots))]
		proxy, server := s.kinesis, "kinesis"
		if rand.N(2) == 0 {
			proxy, server = s.table, "table"
		}
		mu.Lock()
		free := !busy[proxy]
		busy[proxy] = true
		mu.Unlock()
		if !free {
			continue
		}
		fault := randomFault()
		broken <- struct{}{} // a fault ends soon
		proxy.Set(fault)
		h.counts.add(server + "-" + string(fault.Mode))
		slog.Debug("fault", "kind", fault, "worker", s.index, "server", server)
		h.after(ctx, rand.N(maxFaultTime), func() {
			if rand.N(2) == 0 { // what waits in the proxy is lost
				proxy.ResetAll()
			}
			proxy.Set(tcpproxy.Fault{})
			mu.Lock()
			busy[proxy] = false
			mu.Unlock()
			<-broken
		})
	}
}

func randomFault() tcpproxy.Fault {
	switch rand.N(4) {
	case 0:
		return tcpproxy.Fault{Mode: tcpproxy.Reset}
	case 1:
		return tcpproxy.Fault{Mode: tcpproxy.BlackHole}
	case 2:
		return tcpproxy.Fault{
			Mode: tcpproxy.Slow, Delay: rand.N(500 * time.Millisecond), Bytes: 2000 + rand.IntN(100_000),
		}
	}
	return tcpproxy.Fault{Mode: tcpproxy.Cut, Bytes: 1 + rand.IntN(1<<(4+rand.IntN(13)))}
}

// limits fills the disk of a worker, or lets it have no more memory.
func (h *havoc) limits(ctx context.Context) {
	if !limitsWork {
		return
	}
	for {
		pause(ctx, time.Second+rand.N(3*time.Second))
		if ctx.Err() != nil {
			return
		}
		s := h.fleet.anyBusy()
		if s == nil {
			continue
		}
		kind, resource, lasts := fullDisk, limitFileSize, diskTime
		value := func(_ int, journal uint64) uint64 { return journal + uint64(rand.IntN(spareBytes)) }
		if rand.N(3) == 0 {
			kind, resource, lasts = noMemory, limitAddressSpace, memoryTime
			value = func(pid int, _ uint64) uint64 { return memory(pid, "VmSize") + uint64(rand.IntN(spareMemory)) }
		}
		pid, err := s.limit(0, resource, value)
		if err != nil {
			continue // it has ended just now
		}
		h.counts.add(kind)
		slog.Debug("fault", "kind", kind, "worker", s.index)
		h.after(ctx, lasts, func() {
			// An error says that it has ended.
			_, _ = s.limit(pid, resource, func(int, uint64) uint64 { return unlimited })
		})
	}
}

// pause waits for a time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
