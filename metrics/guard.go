package metrics

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl/internal/usercode"
)

// guard contains the panics of a user's Sink. A panic may lose numbers, but no records.
type guard struct {
	sink   Sink
	logged atomic.Int64 // when a panic was last logged, in Unix seconds
}

const logEvery = 60 // seconds between two log lines about panics

func (g *guard) contain(f func()) {
	err := usercode.Contain(f)
	if err == nil {
		return
	}
	now, last := time.Now().Unix(), g.logged.Load()
	if now-last >= logEvery && g.logged.CompareAndSwap(last, now) {
		slog.Error("metrics sink panicked, numbers are lost", "err", err)
	}
}

func (g *guard) Series(d *Desc, labels ...string) Series {
	out := &guardedSeries{guard: g}
	g.contain(func() { out.inner = g.sink.Series(d, labels...) })
	return out
}

func (g *guard) Remove(d *Desc, labels ...string) {
	g.contain(func() { g.sink.Remove(d, labels...) })
}

// guardedSeries is a series of a guarded sink. inner is nil if the sink failed to make it.
type guardedSeries struct {
	guard *guard
	inner Series
}

func (s *guardedSeries) Record(v float64) {
	if s.inner != nil {
		s.guard.contain(func() { s.inner.Record(v) })
	}
}
