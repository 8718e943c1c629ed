//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	sampleEvery = 10 * time.Second
	warmUp      = 6 // a sixth of the time is not measured
	mega        = 1 << 20
)

// measure is something of a worker that must not grow.
type measure struct {
	name   string
	unit   float64
	hourly float64 // growth in an hour, in units, that is allowed for ever
	noise  float64 // growth in the whole time, in units, that may be chance
}

var measures = []measure{
	{"rss MB", mega, 1, 6},
	{"live heap MB", mega, 1, 2},
	{"goroutines", 1, 0, 3},
	{"descriptors", 1, 0, 3},
	{"sockets", 1, 0, 3},
}

// series is the samples of one measure of one worker.
type series struct{ hours, values []float64 }

func (s *series) add(hours, value float64) {
	s.hours = append(s.hours, hours)
	s.values = append(s.values, value)
}

// slope is the growth in an hour, by least squares, and the mean.
func (s *series) slope() (slope, mean float64) {
	n := float64(len(s.values))
	if n < 2 {
		return 0, 0
	}
	var x, y, xx, xy float64
	for i, h := range s.hours {
		x += h
		y += s.values[i]
	}
	x, y = x/n, y/n
	for i, h := range s.hours {
		xx += (h - x) * (h - x)
		xy += (h - x) * (s.values[i] - y)
	}
	return xy / xx, y
}

// span is the hours between the first and the last sample.
func (s *series) span() float64 {
	if len(s.hours) == 0 {
		return 0
	}
	return s.hours[len(s.hours)-1] - s.hours[0]
}

// grows says why a measure grows too much, or was not measured, or is empty.
func (m measure) grows(s *series) string {
	slope, mean := s.slope()
	if len(s.values) < 2 || mean == 0 {
		return m.name + " was not measured"
	}
	if bound := m.hourly + m.noise/s.span(); slope > bound {
		return fmt.Sprintf("%s: %.2f on the average, %+.2f an hour, at most %.2f are allowed", m.name, mean, slope, bound)
	}
	return ""
}

// soak measures the workers for a time. It begins after a warm-up.
func soak(ctx context.Context, f *fleet, lasts time.Duration) {
	began := time.Now()
	pause(ctx, lasts/warmUp)
	all := make([][]series, len(f.slots))
	for i := range all {
		all[i] = make([]series, len(measures))
	}
	for ctx.Err() == nil && time.Since(began) < lasts {
		for i, s := range f.slots {
			values, err := sample(ctx, s)
			if err != nil {
				slog.Warn("sample", "worker", i, "err", err)
				continue
			}
			for m, v := range values {
				all[i][m].add(time.Since(began).Hours(), v/measures[m].unit)
			}
		}
		pause(ctx, sampleEvery)
	}
	if ctx.Err() != nil {
		return
	}
	for i := range all {
		for m := range measures {
			s := &all[i][m]
			slope, mean := s.slope()
			fmt.Printf("worker %d: %-14s mean %8.2f, %+7.2f an hour, %d samples in %.2f h\n",
				i, measures[m].name, mean, slope, len(s.values), s.span())
			if why := measures[m].grows(s); why != "" {
				f.problem("worker %d: %s", i, why)
			}
		}
	}
}

// sample measures a worker, in the order of measures.
func sample(ctx context.Context, s *slot) ([]float64, error) {
	pid := s.pid()
	rss := memory(pid, "VmRSS")
	descriptors, sockets := descriptors(pid)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	metrics, err := scrape(ctx, "http://"+s.metrics+"/metrics")
	if err != nil {
		return nil, err
	}
	return []float64{
		float64(rss), metrics["go_gc_heap_live_bytes"], metrics["go_goroutines"],
		float64(descriptors), float64(sockets),
	}, nil
}

// scrape reads the metrics without labels.
func scrape(ctx context.Context, url string) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true // no connection stays for the next sample
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s", response.Status)
	}
	found := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, text, ok := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); ok && err == nil {
			found[name] = value
		}
	}
	return found, lines.Err()
}

// serveMetrics gives each worker an address for its metrics, which nobody uses now.
func (f *fleet) serveMetrics() error {
	for _, s := range f.slots {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.metrics = listener.Addr().String()
		if err := listener.Close(); err != nil {
			return err
		}
	}
	return nil
}
