package prometheus_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/metrics/prometheus"
)

// The metrics go to a registry that the program makes and serves itself.
func ExampleNew() {
	registry := prom.NewRegistry()
	sink, err := prometheus.New(registry)
	if err != nil {
		fmt.Println(err)
		return
	}
	m := metrics.New(sink) // for scheduler.Config.Metrics
	m.SetLeasesHeld(4)

	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "kcl_leases_held") {
			fmt.Print(line)
		}
	}
	// Output:
	// # HELP kcl_leases_held Leases that this worker holds.
	// # TYPE kcl_leases_held gauge
	// kcl_leases_held 4
}
