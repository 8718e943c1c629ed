package prometheus

import (
	"errors"
	"fmt"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/kinesis-go/kcl/metrics"
)

// Sink writes the library's metrics to Prometheus collectors. Make one with
// [New]. It is safe for concurrent use.
type Sink struct {
	families map[*metrics.Desc]family // never changed after New
}

var _ metrics.Sink = (*Sink)(nil)

// family is all series of one metric.
type family interface {
	prom.Collector
	series(labels []string) metrics.Series
	DeletePartialMatch(labels prom.Labels) int
}

// New makes a Sink with a collector for each of [metrics.All] and registers the collectors with
// reg. If reg already has one of them, New fails and leaves reg unchanged. Then share the first
// Sink, or add a label to each with prometheus.WrapRegistererWith.
func New(reg prom.Registerer) (*Sink, error) {
	if reg == nil {
		return nil, errors.New(
			"kcl metrics: the registerer is nil; pass prometheus.NewRegistry() or prometheus.DefaultRegisterer")
	}
	s := &Sink{families: make(map[*metrics.Desc]family)}
	for _, d := range metrics.All() {
		f := newFamily(d)
		if err := reg.Register(f); err != nil {
			s.unregister(reg)
			if _, ok := errors.AsType[prom.AlreadyRegisteredError](err); ok {
				return nil, fmt.Errorf("kcl metrics: %s is already registered: share one Sink, "+
					"or use prometheus.WrapRegistererWith to tell several apart: %w", d.Name, err)
			}
			return nil, fmt.Errorf("kcl metrics: register %s: %w", d.Name, err)
		}
		s.families[d] = f
	}
	return s, nil
}

func (s *Sink) unregister(reg prom.Registerer) {
	for _, f := range s.families {
		reg.Unregister(f)
	}
}

// Series implements [metrics.Sink]. The result may be kept. After a [Sink.Remove] that covers it,
// its numbers are no longer exported.
func (s *Sink) Series(d *metrics.Desc, labels ...string) metrics.Series {
	return s.family(d).series(labels)
}

// Remove implements [metrics.Sink].
func (s *Sink) Remove(d *metrics.Desc, labels ...string) {
	match := make(prom.Labels, len(labels))
	for i, v := range labels {
		match[d.Labels[i]] = v
	}
	s.family(d).DeletePartialMatch(match)
}

func (s *Sink) family(d *metrics.Desc) family {
	f := s.families[d]
	if f == nil {
		panic("kcl metrics: " + d.Name + " is not listed in metrics.All")
	}
	return f
}
