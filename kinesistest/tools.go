package kinesistest

import (
	"encoding/json"
	"slices"
	"time"
)

// These operations are called by tools that set up streams and accounts: PutResourcePolicy,
// GetResourcePolicy, DeleteResourcePolicy, EnableEnhancedMonitoring, DisableEnhancedMonitoring,
// DescribeAccountSettings, UpdateAccountSettings, UpdateStreamWarmThroughput.
//
// A policy is kept and has no effect: see Config.Deny. Enhanced monitoring and warm throughput are
// kept and have no effect either; the stream must be ACTIVE and is UPDATING for Config.StateDelay.
// The commitment to a minimum throughput lasts for at least 24 hours. Only an account with a
// commitment can set the warm throughput of on-demand streams.

var toolOperations = []operation{
	define("PutResourcePolicy", putResourcePolicy),
	define("GetResourcePolicy", getResourcePolicy),
	define("DeleteResourcePolicy", deleteResourcePolicy),
	define("EnableEnhancedMonitoring", enableMonitoring),
	define("DisableEnhancedMonitoring", disableMonitoring),
	define("DescribeAccountSettings", describeAccountSettings),
	define("UpdateAccountSettings", updateAccountSettings),
	define("UpdateStreamWarmThroughput", updateWarmThroughput),
}

const (
	commitmentLife    = 24 * time.Hour
	maxWarmThroughput = 10 << 10 // MiB a second

	commitmentOn     = "ENABLED"
	commitmentEnding = "ENABLED_UNTIL_EARLIEST_ALLOWED_END"
	commitmentOff    = "DISABLED"
)

// policyLocked is where the policy of the stream or consumer that has the ARN is kept.
func (a *account) policyLocked(in resourceInput) (*string, error) {
	c, st, err := a.resourceLocked(in)
	switch {
	case err != nil:
		return nil, err
	case c != nil:
		return &c.policy, nil
	}
	return &st.policy, nil
}

type putPolicyInput struct {
	resourceInput
	Policy string `json:"Policy"`
}

func putResourcePolicy(b *backend, _ time.Time, in *putPolicyInput) (any, error) {
	if in.Policy == "" {
		return nil, missing("policy")
	}
	policy, err := b.policyLocked(in.resourceInput)
	if err != nil {
		return nil, err
	}
	var document map[string]any
	if json.Unmarshal([]byte(in.Policy), &document) != nil {
		return nil, invalid("Policy is not a JSON document.")
	}
	*policy = in.Policy
	return nil, nil
}

func getResourcePolicy(b *backend, _ time.Time, in *resourceInput) (any, error) {
	policy, err := b.policyLocked(*in)
	if err != nil {
		return nil, err
	}
	if *policy == "" {
		return nil, errf(codeResourceNotFound, "No resource policy found for resource ARN %s.", in.ResourceARN)
	}
	return struct{ Policy string }{*policy}, nil
}

func deleteResourcePolicy(b *backend, _ time.Time, in *resourceInput) (any, error) {
	policy, err := b.policyLocked(*in)
	if err != nil {
		return nil, err
	}
	if *policy == "" {
		return nil, errf(codeResourceNotFound, "No resource policy found for resource ARN %s.", in.ResourceARN)
	}
	*policy = ""
	return nil, nil
}

// shardMetrics are the metrics of shards, in the order of answers.
var shardMetrics = []string{
	"IncomingBytes", "IncomingRecords", "IteratorAgeMilliseconds", "OutgoingBytes", "OutgoingRecords",
	"ReadProvisionedThroughputExceeded", "WriteProvisionedThroughputExceeded",
}

type monitoringInput struct {
	streamRef
	ShardLevelMetrics []string `json:"ShardLevelMetrics"`
}

type monitoringOutput struct {
	StreamName               string
	StreamARN                string
	CurrentShardLevelMetrics []string
	DesiredShardLevelMetrics []string
}

func enableMonitoring(b *backend, _ time.Time, in *monitoringInput) (any, error) {
	return b.monitorLocked(in, true)
}

func disableMonitoring(b *backend, _ time.Time, in *monitoringInput) (any, error) {
	return b.monitorLocked(in, false)
}

func (b *backend) monitorLocked(in *monitoringInput, on bool) (any, error) {
	if len(in.ShardLevelMetrics) == 0 {
		return nil, missing("shardLevelMetrics")
	}
	for _, m := range in.ShardLevelMetrics {
		if m != "ALL" && !slices.Contains(shardMetrics, m) {
			return nil, constraint(m, "shardLevelMetrics", "Member must satisfy enum value set: [ALL, IncomingBytes, "+
				"IncomingRecords, IteratorAgeMilliseconds, "+
				"OutgoingBytes, OutgoingRecords, ReadProvisionedThroughputExceeded, WriteProvisionedThroughputExceeded]")
		}
	}
	st, err := b.findActiveLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	all, desired := slices.Contains(in.ShardLevelMetrics, "ALL"), []string{}
	for _, m := range shardMetrics {
		if all || slices.Contains(in.ShardLevelMetrics, m) {
			if on {
				desired = append(desired, m)
			}
		} else if slices.Contains(st.metrics, m) {
			desired = append(desired, m)
		}
	}
	out := monitoringOutput{
		StreamName:               st.name,
		StreamARN:                st.arn,
		CurrentShardLevelMetrics: st.monitored(),
		DesiredShardLevelMetrics: desired,
	}
	b.updateLocked(st, func(time.Time) { st.metrics = desired })
	return out, nil
}

// monitored is the part of DescribeStream about metrics.
func (st *stream) monitored() []string { return append([]string{}, st.metrics...) }

// commitment is the commitment of an account to a minimum throughput.
type commitment struct {
	started, ended time.Time // zero: never; an end may lie ahead
}

type commitmentOutput struct {
	Status               string     `json:"Status"`
	StartedAt            *timestamp `json:"StartedAt,omitempty"`
	EarliestAllowedEndAt *timestamp `json:"EarliestAllowedEndAt,omitempty"`
	EndedAt              *timestamp `json:"EndedAt,omitempty"`
}

func (c commitment) on(now time.Time) bool {
	return !c.started.IsZero() && (c.ended.IsZero() || now.Before(c.ended))
}

func (c commitment) describe(now time.Time) any {
	out := commitmentOutput{Status: commitmentOff}
	stamp := func(t time.Time) *timestamp {
		s := newTimestamp(t)
		return &s
	}
	switch {
	case c.on(now):
		out.Status, out.StartedAt, out.EarliestAllowedEndAt = commitmentOn, stamp(
			c.started,
		), stamp(c.started.Add(commitmentLife))
		if !c.ended.IsZero() {
			out.Status = commitmentEnding
		}
	case !c.ended.IsZero():
		out.StartedAt, out.EndedAt = stamp(c.started), stamp(c.ended)
	}
	return struct{ MinimumThroughputBillingCommitment commitmentOutput }{out}
}

type accountInput struct{}

func (*accountInput) resource() resource { return resource{} }

func describeAccountSettings(b *backend, now time.Time, _ *accountInput) (any, error) {
	return b.commitment.describe(now), nil
}

type updateAccountInput struct {
	accountInput
	MinimumThroughputBillingCommitment *struct{ Status string }
}

func updateAccountSettings(b *backend, now time.Time, in *updateAccountInput) (any, error) {
	if in.MinimumThroughputBillingCommitment == nil {
		return nil, missing("minimumThroughputBillingCommitment")
	}
	c := &b.commitment
	switch status := in.MinimumThroughputBillingCommitment.Status; status {
	case commitmentOn:
		if !c.on(now) {
			c.started = now
		}
		c.ended = time.Time{}
	case commitmentOff:
		if c.on(now) && c.ended.IsZero() {
			c.ended = now
			if earliest := c.started.Add(commitmentLife); earliest.After(now) {
				c.ended = earliest
			}
		}
	default:
		return nil, constraint(status, "minimumThroughputBillingCommitment.status", "Member must satisfy enum value set: "+
			"[DISABLED, ENABLED]")
	}
	return c.describe(now), nil
}

type warmThroughputInput struct {
	streamRef
	WarmThroughputMiBps *int32 `json:"WarmThroughputMiBps"`
}

type warmThroughput struct {
	TargetMiBps  int32 `json:"TargetMiBps"`
	CurrentMiBps int32 `json:"CurrentMiBps"`
}

func updateWarmThroughput(b *backend, now time.Time, in *warmThroughputInput) (any, error) {
	switch {
	case in.WarmThroughputMiBps == nil:
		return nil, missing("warmThroughputMiBps")
	case *in.WarmThroughputMiBps < 0:
		return nil, constraint(*in.WarmThroughputMiBps, "warmThroughputMiBps",
			"Member must have value greater than or equal to 0")
	}
	st, err := b.findActiveLocked(in.streamRef)
	switch {
	case err != nil:
		return nil, err
	case st.mode != modeOnDemand:
		return nil, invalid("Stream %s is in PROVISIONED mode, which has no warm throughput.", st.name)
	case !b.commitment.on(now):
		return nil, invalid(
			"Account %s has no MinimumThroughputBillingCommitment, which the warm throughput of stream %s needs.",
			b.cfg.AccountID, st.name)
	case *in.WarmThroughputMiBps > maxWarmThroughput:
		return nil, errf(codeLimitExceeded, "The warm throughput of a stream cannot be more than %d MiB per second.",
			maxWarmThroughput)
	}
	st.warm.TargetMiBps = *in.WarmThroughputMiBps
	out := struct {
		StreamName, StreamARN string
		WarmThroughput        warmThroughput
	}{st.name, st.arn, st.warm}
	b.updateLocked(st, func(time.Time) { st.warm.CurrentMiBps = st.warm.TargetMiBps })
	return out, nil
}
