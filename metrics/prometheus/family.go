package prometheus

import (
	"slices"
	"strings"
	"sync"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/kinesis-go/kcl/metrics"
)

func newFamily(d *metrics.Desc) family {
	switch d.Kind {
	case metrics.KindCounter:
		return counters{prom.NewCounterVec(prom.CounterOpts{Name: d.Name, Help: d.Help}, d.Labels)}
	case metrics.KindGauge:
		return gauges{prom.NewGaugeVec(prom.GaugeOpts{Name: d.Name, Help: d.Help}, d.Labels)}
	case metrics.KindHistogram:
		return histograms{prom.NewHistogramVec(prom.HistogramOpts{Name: d.Name, Help: d.Help, Buckets: d.Buckets}, d.Labels)}
	case metrics.KindLag:
		return &lags{labels: d.Labels, desc: prom.NewDesc(d.Name, d.Help, d.Labels, nil), all: make(map[string]*lag)}
	}
	panic("kcl metrics: " + d.Name + " is of an unknown kind")
}

type counters struct{ *prom.CounterVec }

func (v counters) series(labels []string) metrics.Series {
	return record(v.WithLabelValues(labels...).Add)
}

type gauges struct{ *prom.GaugeVec }

func (v gauges) series(labels []string) metrics.Series {
	return record(v.WithLabelValues(labels...).Set)
}

type histograms struct{ *prom.HistogramVec }

func (v histograms) series(labels []string) metrics.Series {
	return record(v.WithLabelValues(labels...).Observe)
}

// record is a Series made of one function.
type record func(value float64)

func (r record) Record(value float64) { r(value) }

// lags is a vector of gauges that are computed when they are scraped. A lag without new values
// grows with the time that passes.
type lags struct {
	desc   *prom.Desc
	labels []string

	mu  sync.Mutex // guards all and the lags in it
	all map[string]*lag
}

type lag struct {
	family *lags
	labels []string
	value  float64
	at     time.Time // zero: nothing recorded yet
}

// Record implements metrics.Series.
func (l *lag) Record(value float64) {
	l.family.mu.Lock()
	defer l.family.mu.Unlock()
	l.value, l.at = value, time.Now()
}

func (v *lags) series(labels []string) metrics.Series {
	key := strings.Join(labels, "\x00")
	v.mu.Lock()
	defer v.mu.Unlock()
	l := v.all[key]
	if l == nil {
		l = &lag{family: v, labels: slices.Clone(labels)}
		v.all[key] = l
	}
	return l
}

func (v *lags) DeletePartialMatch(match prom.Labels) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := len(v.all)
	for key, l := range v.all {
		matches := true
		for i, name := range v.labels {
			if want, ok := match[name]; ok && want != l.labels[i] {
				matches = false
			}
		}
		if matches {
			delete(v.all, key)
		}
	}
	return before - len(v.all)
}

// Describe implements prometheus.Collector.
func (v *lags) Describe(ch chan<- *prom.Desc) { ch <- v.desc }

// Collect implements prometheus.Collector.
func (v *lags) Collect(ch chan<- prom.Metric) {
	for _, m := range v.snapshot() { // no lock is held while ch blocks
		ch <- m
	}
}

func (v *lags) snapshot() []prom.Metric {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	out := make([]prom.Metric, 0, len(v.all))
	for _, l := range v.all {
		if !l.at.IsZero() {
			out = append(out, prom.MustNewConstMetric(v.desc, prom.GaugeValue, metrics.Lag(l.value, now.Sub(l.at)), l.labels...))
		}
	}
	return out
}
