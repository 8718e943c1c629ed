//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
)

func TestGrowth(t *testing.T) {
	t.Parallel()
	m := measure{name: "memory", hourly: 1, noise: 0.5}
	for name, tc := range map[string]struct {
		values []float64 // one each half hour
		slope  float64
		grows  bool
	}{
		"constant":        {[]float64{7, 7, 7}, 0, false},
		"shrinks":         {[]float64{9, 8, 7}, -2, false},
		"grows slowly":    {[]float64{7, 7.6, 8.2}, 1.2, false},
		"grows":           {[]float64{7, 8, 9}, 2, true},
		"grows with dips": {[]float64{7, 10, 8, 11}, 2, true},
		"nothing":         {nil, 0, true},
		"one sample":      {[]float64{7}, 0, true},
		"never measured":  {[]float64{0, 0, 0}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s series
			for i, v := range tc.values {
				s.add(float64(i)/2, v)
			}
			slope, _ := s.slope()
			require.InDelta(t, tc.slope, slope, 1e-9)
			require.Equal(t, tc.grows, m.grows(&s) != "", m.grows(&s))
		})
	}
}

func TestScrape(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "go_goroutines", Help: "Goroutines."})
	gauge.Set(12)
	registry.MustRegister(gauge)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer server.Close()
	found, err := scrape(t.Context(), server.URL)
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"go_goroutines": 12}, found)

	missing := httptest.NewServer(http.NotFoundHandler())
	defer missing.Close()
	_, err = scrape(t.Context(), missing.URL)
	require.ErrorContains(t, err, "404")
}
