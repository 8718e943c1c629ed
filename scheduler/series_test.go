package scheduler_test

import (
	"slices"
	"strings"
	"sync"

	"github.com/kinesis-go/kcl/metrics"
)

// series is a sink that knows which series there are, and the values of their
// counters and gauges.
type series struct {
	mu  sync.Mutex // guards all
	all map[string]float64
}

func newSeries() *series { return &series{all: map[string]float64{}} }

func seriesKey(d *metrics.Desc, labels []string) string {
	return d.Name + "{" + strings.Join(labels, ",")
}

type oneSeries struct {
	s    *series
	key  string
	kind metrics.Kind
}

func (o oneSeries) Record(v float64) {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	was, ok := o.s.all[o.key]
	switch {
	case !ok: // removed
	case o.kind == metrics.KindCounter:
		o.s.all[o.key] = was + v
	default:
		o.s.all[o.key] = v
	}
}

func (s *series) Series(d *metrics.Desc, labels ...string) metrics.Series {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := seriesKey(d, labels)
	if _, ok := s.all[key]; !ok {
		s.all[key] = 0
	}
	return oneSeries{s, key, d.Kind}
}

func (s *series) Remove(d *metrics.Desc, labels ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := seriesKey(d, labels)
	for key := range s.all {
		if key == prefix || strings.HasPrefix(key, prefix+",") {
			delete(s.all, key)
		}
	}
}

// with lists the series whose name and labels have a text.
func (s *series) with(text string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key := range s.all {
		if strings.Contains(key, text) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// value returns what a series says; 0 when there is none.
func (s *series) value(d *metrics.Desc, labels ...string) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[seriesKey(d, labels)]
}
