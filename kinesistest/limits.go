package kinesistest

import "time"

// The published limits, from "Quotas and limits" of the developer guide and the pages of the
// operations.
const (
	minRecordKiB  = 1024
	maxRecordKiB  = 10240
	maxRecords    = 500      // of PutRecords
	maxPutBytes   = 10 << 20 // of PutRecords, keys included
	maxGetRecords = 10000
	maxGetBytes   = 10 << 20

	shardWriteRecords = 1000    // per second
	shardWriteBytes   = 1 << 20 // per second
	shardReadBytes    = 2 << 20 // per second, shared by all GetRecords; and again for each consumer of fan-out

	maxConsumers         = 20 // per stream
	maxConsumersCreating = 5
	maxStreamsCreating   = 5
	maxScalingsPerDay    = 10
	maxOnDemandStreams   = 50
	maxShardsOfStream    = 10000 // as a target of UpdateShardCount

	subscriptionLife    = 5 * time.Minute
	subscriptionHold    = 5 * time.Second // before another call may take over
	idleEvent           = 5 * time.Second
	iteratorLife        = 5 * time.Minute
	tokenLife           = 300 * time.Second
	maxEventBytes       = 1 << 20 // of one event, unless a single record is larger; AWS publishes no figure
	maxEventRecords     = 10000
	maxPartitionKey     = 256
	maxTags             = 50
	minRetentionHours   = 24
	maxRetentionHours   = 8760
	defaultListStreams  = 100
	defaultPage         = 1000
	maxRequestBytes     = 32 << 20 // of an HTTP request: 10 MiB in base64, and the rest of a PutRecords
	maxListStreamsLimit = 10000
)

// callRate is how often an operation may be called per second.
type callRate struct {
	perSecond int
	scope     scope
}

// scope is the thing whose calls are counted for a rate.
type scope int

const (
	perAccount scope = iota
	perStream
)

// callRates are the rates of the control plane. The operations themselves check the rates per shard
// and per consumer.
var callRates = map[string]callRate{
	"AddTagsToStream":               {5, perAccount},
	"CreateStream":                  {5, perAccount},
	"DecreaseStreamRetentionPeriod": {5, perStream},
	"DeleteStream":                  {5, perAccount},
	"DeregisterStreamConsumer":      {5, perStream},
	"DeleteResourcePolicy":          {5, perAccount},
	"DescribeAccountSettings":       {5, perAccount},
	"DescribeLimits":                {1, perAccount},
	"DescribeStream":                {10, perAccount},
	"DescribeStreamConsumer":        {20, perStream},
	"DescribeStreamSummary":         {20, perAccount},
	"DisableEnhancedMonitoring":     {5, perAccount},
	"EnableEnhancedMonitoring":      {5, perAccount},
	"GetResourcePolicy":             {5, perAccount},
	"IncreaseStreamRetentionPeriod": {5, perStream},
	"ListShards":                    {1000, perStream},
	"ListStreamConsumers":           {5, perStream},
	"ListStreams":                   {5, perAccount},
	"ListTagsForResource":           {5, perAccount},
	"ListTagsForStream":             {5, perAccount},
	"MergeShards":                   {5, perAccount},
	"PutResourcePolicy":             {5, perAccount},
	"RegisterStreamConsumer":        {5, perStream},
	"RemoveTagsFromStream":          {5, perAccount},
	"SplitShard":                    {5, perAccount},
	"TagResource":                   {5, perAccount},
	"UntagResource":                 {5, perAccount},
	"UpdateAccountSettings":         {5, perAccount},
	"UpdateShardCount":              {10, perAccount},
	"UpdateStreamWarmThroughput":    {5, perAccount},
}

// bucket is a rate limiter: rate units per second, and at most burst at once. It keeps the time at
// which it is full again.
type bucket struct{ full time.Time }

// take spends n units. It returns false if there are not enough.
func (b *bucket) take(now time.Time, n, rate, burst int) bool {
	return b.spend(now, n, n, rate, burst)
}

// admit lets a call through if at least one unit is left, and spends n units. The service throttles
// a large answer like that.
func (b *bucket) admit(now time.Time, rate, burst int) bool {
	return b.debt(now)+cost(1, rate) <= cost(burst, rate)
}

// charge spends n units, also if fewer are left.
func (b *bucket) charge(now time.Time, n, rate int) {
	b.full = now.Add(b.debt(now) + cost(n, rate))
}

// wait is how long until n units are there. If n is more than burst, it is how long until the
// bucket is full.
func (b *bucket) wait(now time.Time, n, rate, burst int) time.Duration {
	return max(0, b.debt(now)+cost(min(n, burst), rate)-cost(burst, rate))
}

func (b *bucket) spend(now time.Time, need, n, rate, burst int) bool {
	if b.debt(now)+cost(need, rate) > cost(burst, rate) {
		return false
	}
	b.charge(now, n, rate)
	return true
}

// debt is how long until the bucket is full again.
func (b *bucket) debt(now time.Time) time.Duration { return max(0, b.full.Sub(now)) }

func cost(n, rate int) time.Duration {
	return time.Duration(int64(n) * int64(time.Second) / int64(rate))
}
