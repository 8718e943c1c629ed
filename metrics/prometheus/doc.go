// Package prometheus exports the library's metrics to a Prometheus registry. It is a [metrics.Sink]
// over github.com/prometheus/client_golang. It stands where the KCL has its CloudWatch metrics
// factory.
//
// A program makes one [Sink] for the registry that it serves and hands it to
// scheduler.Config by way of [metrics.New]:
//
//	sink, err := prometheus.New(registry)
//	...
//	scheduler.Config{Metrics: metrics.New(sink), ...}
//
// Nothing is registered globally. Every metric has a bounded set of labels. The series of a shard
// disappear when the worker gives the shard up, so that exactly one process exports each shard. If
// one process has several schedulers, give each its own Sink on a registerer that adds a label:
//
//	prometheus.New(prom.WrapRegistererWith(prom.Labels{"worker": id}, registry))
package prometheus
