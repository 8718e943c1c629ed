// Package metrics names every metric of the library once, and hands the
// numbers to a [Sink]: metrics/prometheus, or a user's own.
//
// The scheduler makes one [Metrics] from its configuration. A shard's consumer
// resolves its handles once, with [Metrics.Shard], so that nothing is looked
// up by label on the way of a record, and closes them at hand-over, which
// removes the series of a shard that this process no longer owns. A nil
// *Metrics and a nil *Shard are no-ops, so callers never test for them. It
// stands where the KCL has its MetricsScope and MetricsFactory.
package metrics
