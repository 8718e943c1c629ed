package kinesistest

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams, DescribeLimits.
//
// Creating and deleting take time. The stream is CREATING or DELETING for Config.StateDelay, and
// for operations on data it does not exist meanwhile. Creation times are whole seconds, and a name
// that is used again gets a later one. At most five streams may be CREATING. A stream with
// consumers is deleted only with EnforceConsumerDeletion. Its subscriptions end with
// ResourceNotFoundException. DescribeStream pages its shards, 100 at a time; the summary counts
// them. ListStreams is in order of name.

var streamOperations = []operation{
	define("CreateStream", createStream),
	define("DeleteStream", deleteStream),
	define("DescribeStream", describeStream),
	define("DescribeStreamSummary", describeStreamSummary),
	define("ListStreams", listStreams),
	define("DescribeLimits", describeLimits),
}

type streamModeDetails struct {
	StreamMode string `json:"StreamMode"`
}

type createStreamInput struct {
	StreamName                 string             `json:"StreamName"`
	ShardCount                 *int32             `json:"ShardCount"`
	StreamModeDetails          *streamModeDetails `json:"StreamModeDetails"`
	Tags                       map[string]string  `json:"Tags"`
	MaxRecordSizeInKiB         *int32             `json:"MaxRecordSizeInKiB"`
	RecordDistributionStrategy string             `json:"RecordDistributionStrategy"`
}

func (in *createStreamInput) resource() resource { return resource{stream: in.StreamName} }

const onDemandShards = 4 // that a new on-demand stream has

func createStream(b *backend, now time.Time, in *createStreamInput) (any, error) {
	mode, shards := modeProvisioned, 0
	if in.StreamModeDetails != nil {
		mode = in.StreamModeDetails.StreamMode
	}
	if in.ShardCount != nil {
		shards = int(*in.ShardCount)
	}
	switch {
	case in.StreamName == "":
		return nil, missing("streamName")
	case !validName.MatchString(in.StreamName):
		return nil, constraint(in.StreamName, "streamName", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	case mode != modeProvisioned && mode != modeOnDemand:
		return nil, constraint(mode, "streamModeDetails.streamMode",
			"Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]")
	case mode == modeProvisioned && in.ShardCount == nil:
		return nil, invalid("ShardCount must be provided when creating a stream in PROVISIONED mode.")
	case mode == modeProvisioned && shards < 1:
		return nil, constraint(shards, "shardCount", "Member must have value greater than or equal to 1")
	case mode == modeOnDemand && in.ShardCount != nil:
		return nil, errf(codeValidation, "ShardCount cannot be specified while creating a stream in ON_DEMAND mode.")
	}
	if shards > maxStreamShards {
		return nil, constraint(shards, "shardCount", "Member must have value less than or equal to 100000")
	}
	if mode == modeOnDemand {
		shards = onDemandShards
	}
	if err := checkDistribution(in.RecordDistributionStrategy, mode, false); err != nil {
		return nil, err
	}
	size := int32(minRecordKiB)
	if in.MaxRecordSizeInKiB != nil {
		size = *in.MaxRecordSizeInKiB
		if err := checkRecordSize(size); err != nil {
			return nil, err
		}
	}
	if err := checkTags(in.Tags, nil); err != nil {
		return nil, err
	}
	if _, ok := b.streams[in.StreamName]; ok {
		return nil, errf(codeResourceInUse, "Stream %s under account %s already exists.", in.StreamName, b.cfg.AccountID)
	}
	if err := b.roomForStreamLocked(mode, shards); err != nil {
		return nil, err
	}
	st := b.newStream(now, in.StreamName, shards)
	st.mode = mode
	st.maxRecordKiB = int(size)
	if in.RecordDistributionStrategy != "" {
		st.distribution = in.RecordDistributionStrategy
	}
	for k, v := range in.Tags {
		st.tags[k] = v
	}
	b.afterLocked(func(time.Time) {
		if st.status == statusCreating {
			st.status = statusActive
		}
	})
	return nil, nil
}

// maxStreamShards bounds one CreateStream even when limits are off.
const maxStreamShards = 100000

// roomForStreamLocked checks the account's quotas for one more stream.
func (a *account) roomForStreamLocked(mode string, shards int) error {
	if a.cfg.DisableLimits {
		return nil
	}
	creating, onDemand := 0, 0
	for _, st := range a.streams {
		if st.status == statusCreating {
			creating++
		}
		if st.mode == modeOnDemand {
			onDemand++
		}
	}
	if creating >= maxStreamsCreating {
		return errf(codeLimitExceeded, "This request would exceed the limit of %d streams in the CREATING state for the "+
			"account %s.", maxStreamsCreating, a.cfg.AccountID)
	}
	if mode == modeOnDemand {
		if onDemand >= maxOnDemandStreams {
			return errf(codeLimitExceeded, "This request would exceed the on-demand stream limit of %d for the account %s.",
				maxOnDemandStreams, a.cfg.AccountID)
		}
		return nil
	}
	return a.roomForShardsLocked(shards)
}

// roomForShardsLocked checks the account's quota for more open shards.
func (a *account) roomForShardsLocked(more int) error {
	if a.cfg.DisableLimits {
		return nil
	}
	open := a.openShardsLocked()
	if open+more <= a.cfg.ShardLimit {
		return nil
	}
	return errf(codeLimitExceeded,
		"This request would exceed the shard limit for the account %s in %s. Current shard count for the account: %d. "+
			"Limit: %d. Number of additional shards that would have resulted from this request: %d.",
		a.cfg.AccountID, a.cfg.Region, open, a.cfg.ShardLimit, more)
}

// openShardsLocked counts the shards of the shard quota: the open shards of provisioned streams.
func (a *account) openShardsLocked() int {
	n := 0
	for _, st := range a.streams {
		if st.mode == modeProvisioned {
			n += len(st.openShardsLocked())
		}
	}
	return n
}

type deleteStreamInput struct {
	streamRef
	EnforceConsumerDeletion bool `json:"EnforceConsumerDeletion"`
}

func deleteStream(b *backend, now time.Time, in *deleteStreamInput) (any, error) {
	st, err := b.findLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	if st.status == statusDeleting {
		return nil, errf(codeResourceInUse, "Stream %s under account %s not ACTIVE, instead in state %s", st.name,
			b.cfg.AccountID, st.status)
	}
	if len(st.consumers) > 0 && !in.EnforceConsumerDeletion {
		return nil, errf(codeResourceInUse, "Stream %s under account %s has consumers registered.", st.name, b.cfg.AccountID)
	}
	b.deleteLocked(st)
	return nil, nil
}

func (b *backend) deleteLocked(st *stream) {
	st.status = statusDeleting
	for _, c := range st.consumers {
		c.status = statusDeleting
	}
	b.afterLocked(func(time.Time) { b.dropLocked(st) })
}

// dropLocked ends a stream and all its readers.
func (b *backend) dropLocked(st *stream) {
	if b.streams[st.name] == st {
		delete(b.streams, st.name)
		close(st.gone)
	}
}

type streamInput struct{ streamRef }

type describeStreamInput struct {
	streamRef
	ExclusiveStartShardID string `json:"ExclusiveStartShardId"`
	Limit                 *int32 `json:"Limit"`
}

type enhancedMetrics struct {
	ShardLevelMetrics []string `json:"ShardLevelMetrics"`
}

type streamDescription struct {
	StreamName              string             `json:"StreamName"`
	StreamARN               string             `json:"StreamARN"`
	StreamStatus            string             `json:"StreamStatus"`
	StreamModeDetails       streamModeDetails  `json:"StreamModeDetails"`
	Shards                  []shardDescription `json:"Shards"`
	HasMoreShards           bool               `json:"HasMoreShards"`
	RetentionPeriodHours    int                `json:"RetentionPeriodHours"`
	StreamCreationTimestamp timestamp          `json:"StreamCreationTimestamp"`
	EnhancedMonitoring      []enhancedMetrics  `json:"EnhancedMonitoring"`
	EncryptionType          string             `json:"EncryptionType"`
	KeyID                   string             `json:"KeyId,omitempty"`
}

func describeStream(b *backend, now time.Time, in *describeStreamInput) (any, error) {
	limit, err := b.page(in.Limit, "limit", 100, 10000, 10000)
	if err != nil {
		return nil, err
	}
	st, err := b.findLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	d := streamDescription{
		StreamName:              st.name,
		StreamARN:               st.arn,
		StreamStatus:            st.status,
		StreamModeDetails:       streamModeDetails{st.mode},
		Shards:                  []shardDescription{},
		RetentionPeriodHours:    int(st.retention / time.Hour),
		StreamCreationTimestamp: newTimestamp(st.created),
		EnhancedMonitoring: []enhancedMetrics{
			{ShardLevelMetrics: st.monitored()},
		},
		EncryptionType: st.encryption,
		KeyID:          st.keyID,
	}
	if st.status != statusCreating {
		for _, sh := range st.shards {
			if sh.id <= in.ExclusiveStartShardID {
				continue
			}
			if len(d.Shards) == limit {
				d.HasMoreShards = true
				break
			}
			d.Shards = append(d.Shards, sh.describeLocked())
		}
	}
	return struct{ StreamDescription streamDescription }{d}, nil
}

type streamSummaryDescription struct {
	StreamName                 string            `json:"StreamName"`
	StreamARN                  string            `json:"StreamARN"`
	StreamStatus               string            `json:"StreamStatus"`
	StreamModeDetails          streamModeDetails `json:"StreamModeDetails"`
	RetentionPeriodHours       int               `json:"RetentionPeriodHours"`
	StreamCreationTimestamp    timestamp         `json:"StreamCreationTimestamp"`
	EnhancedMonitoring         []enhancedMetrics `json:"EnhancedMonitoring"`
	EncryptionType             string            `json:"EncryptionType"`
	KeyID                      string            `json:"KeyId,omitempty"`
	OpenShardCount             int               `json:"OpenShardCount"`
	ConsumerCount              int               `json:"ConsumerCount"`
	MaxRecordSizeInKiB         int               `json:"MaxRecordSizeInKiB"`
	RecordDistributionStrategy string            `json:"RecordDistributionStrategy,omitempty"`
	WarmThroughput             *warmThroughput   `json:"WarmThroughput,omitempty"`
}

func describeStreamSummary(b *backend, now time.Time, in *streamInput) (any, error) {
	st, err := b.findLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	d := streamSummaryDescription{
		StreamName:              st.name,
		StreamARN:               st.arn,
		StreamStatus:            st.status,
		StreamModeDetails:       streamModeDetails{st.mode},
		RetentionPeriodHours:    int(st.retention / time.Hour),
		StreamCreationTimestamp: newTimestamp(st.created),
		EnhancedMonitoring: []enhancedMetrics{
			{ShardLevelMetrics: st.monitored()},
		},
		EncryptionType:     st.encryption,
		KeyID:              st.keyID,
		ConsumerCount:      len(st.consumers),
		MaxRecordSizeInKiB: st.maxRecordKiB,
	}
	if st.status != statusCreating {
		d.OpenShardCount = len(st.openShardsLocked())
	}
	if st.mode == modeOnDemand {
		d.RecordDistributionStrategy = st.distribution
		warm := st.warm
		d.WarmThroughput = &warm
	}
	return struct{ StreamDescriptionSummary streamSummaryDescription }{d}, nil
}

type listStreamsInput struct {
	ExclusiveStartStreamName string `json:"ExclusiveStartStreamName"`
	Limit                    *int32 `json:"Limit"`
	NextToken                string `json:"NextToken"`
}

func (*listStreamsInput) resource() resource { return resource{} }

type streamSummary struct {
	StreamName              string            `json:"StreamName"`
	StreamARN               string            `json:"StreamARN"`
	StreamStatus            string            `json:"StreamStatus"`
	StreamModeDetails       streamModeDetails `json:"StreamModeDetails"`
	StreamCreationTimestamp timestamp         `json:"StreamCreationTimestamp"`
}

func listStreams(b *backend, now time.Time, in *listStreamsInput) (any, error) {
	limit, err := b.page(in.Limit, "limit", defaultListStreams, maxListStreamsLimit, maxListStreamsLimit)
	if err != nil {
		return nil, err
	}
	start := in.ExclusiveStartStreamName
	if in.NextToken != "" {
		if start, err = openToken(now, tokenStreams, in.NextToken); err != nil {
			return nil, err
		}
	}
	names := make([]string, 0, len(b.streams))
	for name := range b.streams {
		if name > start {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := struct {
		StreamNames     []string
		HasMoreStreams  bool
		StreamSummaries []streamSummary
		NextToken       string `json:",omitempty"`
	}{StreamNames: names, StreamSummaries: []streamSummary{}}
	if len(names) > limit {
		out.StreamNames, out.HasMoreStreams = names[:limit], true
		out.NextToken = sealToken(now, tokenStreams, names[limit-1])
	}
	for _, name := range out.StreamNames {
		st := b.streams[name]
		out.StreamSummaries = append(out.StreamSummaries, streamSummary{
			StreamName: st.name, StreamARN: st.arn, StreamStatus: st.status, StreamModeDetails: streamModeDetails{st.mode},
			StreamCreationTimestamp: newTimestamp(st.created),
		})
	}
	return out, nil
}

type describeLimitsInput struct{}

func (*describeLimitsInput) resource() resource { return resource{} }

func describeLimits(b *backend, now time.Time, _ *describeLimitsInput) (any, error) {
	onDemand := 0
	for _, st := range b.streams {
		if st.mode == modeOnDemand {
			onDemand++
		}
	}
	return struct{ ShardLimit, OpenShardCount, OnDemandStreamCount, OnDemandStreamCountLimit int }{
		b.cfg.ShardLimit, b.openShardsLocked(), onDemand, maxOnDemandStreams,
	}, nil
}

// page is how many results a list may give. It is what the request asks for, or else the default of
// the service. It is at most what the service and Config.PageSize allow.
func (a *account) page(asked *int32, member string, byDefault, highest, most int) (int, error) {
	n := byDefault
	if asked != nil {
		if *asked < 1 {
			return 0, constraint(*asked, member, "Member must have value greater than or equal to 1")
		}
		if int(*asked) > highest {
			return 0, constraint(*asked, member, "Member must have value less than or equal to "+strconv.Itoa(highest))
		}
		n = int(*asked)
	}
	n = min(n, most)
	if a.cfg.PageSize > 0 {
		n = min(n, a.cfg.PageSize)
	}
	return n, nil
}

// sortedKeys returns the keys of m in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
