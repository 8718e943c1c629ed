// Package metrics names every metric of the library once, and hands the numbers to a [Sink]: that
// of metrics/prometheus, or a user's own.
//
// The scheduler makes one [Metrics] from its configuration. A shard's consumer resolves its handles
// once, with [Metrics.Shard], so that no label is looked up for a record. It closes them at
// hand-over, which removes the series of a shard that this process no longer owns. A nil *Metrics
// and a nil *Shard are no-ops, so callers need no checks. The package stands where the KCL has its
// MetricsScope and MetricsFactory.
package metrics
