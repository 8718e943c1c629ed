package kinesistest

import (
	"fmt"
	"strings"
	"time"
)

// RegisterStreamConsumer, DescribeStreamConsumer, ListStreamConsumers, DeregisterStreamConsumer.
//
// A consumer is CREATING for Config.StateDelay, then ACTIVE. Deregistering makes it DELETING for as
// long. Its ARN ends with the epoch second of its creation. A name that is registered again gets a
// new ARN, and the old one is not found. A stream has at most 20 consumers, at most five of them
// CREATING (LimitExceededException). A name that exists is ResourceInUseException. A request names
// a consumer by its ARN, or by stream and name. Deregistering a consumer ends its subscriptions
// with ResourceNotFoundException.

var consumerOperations = []operation{
	define("RegisterStreamConsumer", registerStreamConsumer),
	define("DescribeStreamConsumer", describeStreamConsumer),
	define("ListStreamConsumers", listStreamConsumers),
	define("DeregisterStreamConsumer", deregisterStreamConsumer),
}

// consumer is a registered consumer of a stream, guarded by the backend's mutex.
type consumer struct {
	stream  *stream
	name    string
	arn     string
	created time.Time
	status  string
	tags    map[string]string
	policy  string
	gone    chan struct{}                 // closed when it has been deregistered
	shards  map[string]*subscriptionState // by shard id
}

type consumerSummary struct {
	ConsumerName              string    `json:"ConsumerName"`
	ConsumerARN               string    `json:"ConsumerARN"`
	ConsumerStatus            string    `json:"ConsumerStatus"`
	ConsumerCreationTimestamp timestamp `json:"ConsumerCreationTimestamp"`
	StreamARN                 string    `json:"StreamARN,omitempty"`
}

func (c *consumer) summaryLocked() consumerSummary {
	return consumerSummary{
		ConsumerName:              c.name,
		ConsumerARN:               c.arn,
		ConsumerStatus:            c.status,
		ConsumerCreationTimestamp: newTimestamp(c.created),
	}
}

type registerStreamConsumerInput struct {
	StreamARN    string            `json:"StreamARN"`
	ConsumerName string            `json:"ConsumerName"`
	Tags         map[string]string `json:"Tags"`
}

func (in *registerStreamConsumerInput) resource() resource {
	r := streamRef{StreamARN: in.StreamARN}.resource()
	r.consumer = in.ConsumerName
	return r
}

func registerStreamConsumer(b *backend, now time.Time, in *registerStreamConsumerInput) (any, error) {
	switch {
	case in.StreamARN == "":
		return nil, missing("streamARN")
	case in.ConsumerName == "":
		return nil, missing("consumerName")
	case !validName.MatchString(in.ConsumerName):
		return nil, constraint(in.ConsumerName, "consumerName", "Member must satisfy regular expression pattern: "+
			"[a-zA-Z0-9_.-]+")
	}
	if err := checkTags(in.Tags, nil); err != nil {
		return nil, err
	}
	st, err := b.findUsableLocked(streamRef{StreamARN: in.StreamARN})
	if err != nil {
		return nil, err
	}
	if c, ok := st.consumers[in.ConsumerName]; ok {
		return nil, errf(codeResourceInUse, "Consumer %s under stream %s already exists for account %s. It is in state %s.",
			c.name, st.name, b.cfg.AccountID, c.status)
	}
	if err := b.roomForConsumerLocked(st); err != nil {
		return nil, err
	}
	c := b.addConsumerLocked(now, st, in.ConsumerName)
	for k, v := range in.Tags {
		c.tags[k] = v
	}
	answer := c.summaryLocked()
	b.afterLocked(func(time.Time) {
		if c.status == statusCreating {
			c.status = statusActive
		}
	})
	return struct{ Consumer consumerSummary }{answer}, nil
}

func (a *account) roomForConsumerLocked(st *stream) error {
	if a.cfg.DisableLimits {
		return nil
	}
	creating := 0
	for _, c := range st.consumers {
		if c.status == statusCreating {
			creating++
		}
	}
	if creating >= maxConsumersCreating {
		return errf(codeLimitExceeded, "You cannot have more than %d consumers in a CREATING status at the same time on "+
			"stream %s under account %s.", maxConsumersCreating, st.name, a.cfg.AccountID)
	}
	if len(st.consumers) >= maxConsumers {
		return errf(codeLimitExceeded, "Stream %s under account %s already has the maximum of %d registered consumers.",
			st.name, a.cfg.AccountID, maxConsumers)
	}
	return nil
}

func (b *backend) addConsumerLocked(now time.Time, st *stream, name string) *consumer {
	prefix := st.arn + "/consumer/" + name
	created := b.creation(prefix, now)
	c := &consumer{
		stream: st, name: name, arn: fmt.Sprintf("%s:%d", prefix, created.Unix()), created: created, status: statusCreating,
		tags: map[string]string{}, gone: make(chan struct{}), shards: map[string]*subscriptionState{},
	}
	st.consumers[name] = c
	return c
}

// consumerRef is how requests name a consumer.
type consumerRef struct {
	ConsumerARN  string `json:"ConsumerARN"`
	ConsumerName string `json:"ConsumerName"`
	StreamARN    string `json:"StreamARN"`
}

func (r consumerRef) resource() resource {
	res := streamRef{StreamARN: r.StreamARN}.resource()
	res.consumer, res.consumerARN = r.ConsumerName, r.ConsumerARN
	return res
}

// findConsumerLocked finds a consumer by its ARN, or by stream and name.
func (a *account) findConsumerLocked(r consumerRef) (*consumer, error) {
	name, ref := r.ConsumerName, streamRef{StreamARN: r.StreamARN}
	if r.ConsumerARN != "" {
		p, ok := parseARN(r.ConsumerARN)
		if !ok || p.consumer == "" {
			return nil, constraint(
				r.ConsumerARN,
				"consumerARN",
				"Member must satisfy regular expression pattern: "+
					`^(arn):aws.*:kinesis:.*:\d{12}:.*stream/[a-zA-Z0-9_.-]+/consumer/[a-zA-Z0-9_.-]+:[0-9]+`,
			)
		}
		if (name != "" && name != p.consumer) || (r.StreamARN != "" && !strings.HasPrefix(r.ConsumerARN, r.StreamARN+"/")) {
			return nil, invalid("ConsumerARN %s does not match the given stream or consumer name.", r.ConsumerARN)
		}
		st, ok := a.streams[p.stream]
		if ok && st.consumers[p.consumer] != nil && st.consumers[p.consumer].arn == r.ConsumerARN {
			return st.consumers[p.consumer], nil
		}
		return nil, errf(codeResourceNotFound, "Consumer %s not found.", r.ConsumerARN)
	}
	if name == "" || r.StreamARN == "" {
		return nil, invalid("Either ConsumerARN or both StreamARN and ConsumerName must be provided.")
	}
	st, err := a.findLocked(ref)
	if err != nil {
		return nil, err
	}
	c, ok := st.consumers[name]
	if !ok {
		return nil, errf(codeResourceNotFound, "Consumer %s under stream %s not found for account %s.", name, st.name,
			a.cfg.AccountID)
	}
	return c, nil
}

type consumerInput struct{ consumerRef }

func describeStreamConsumer(b *backend, now time.Time, in *consumerInput) (any, error) {
	c, err := b.findConsumerLocked(in.consumerRef)
	if err != nil {
		return nil, err
	}
	d := c.summaryLocked()
	d.StreamARN = c.stream.arn
	return struct{ ConsumerDescription consumerSummary }{d}, nil
}

func deregisterStreamConsumer(b *backend, now time.Time, in *consumerInput) (any, error) {
	c, err := b.findConsumerLocked(in.consumerRef)
	if err != nil {
		return nil, err
	}
	if c.status == statusDeleting {
		return nil, errf(codeResourceInUse, "Consumer %s is in state %s.", c.arn, c.status)
	}
	b.deregisterLocked(c)
	return nil, nil
}

func (b *backend) deregisterLocked(c *consumer) {
	c.status = statusDeleting
	b.afterLocked(func(time.Time) {
		if c.stream.consumers[c.name] == c {
			delete(c.stream.consumers, c.name)
			close(c.gone)
		}
	})
}

type listStreamConsumersInput struct {
	StreamARN               string     `json:"StreamARN"`
	NextToken               string     `json:"NextToken"`
	MaxResults              *int32     `json:"MaxResults"`
	StreamCreationTimestamp *timestamp `json:"StreamCreationTimestamp"`
}

func (in *listStreamConsumersInput) resource() resource {
	return streamRef{StreamARN: in.StreamARN}.resource()
}

func listStreamConsumers(b *backend, now time.Time, in *listStreamConsumersInput) (any, error) {
	limit, err := b.page(in.MaxResults, "maxResults", 100, 10000, 100)
	if err != nil {
		return nil, err
	}
	if in.StreamARN == "" {
		return nil, missing("streamARN")
	}
	st, err := b.findLocked(streamRef{StreamARN: in.StreamARN})
	if err != nil {
		return nil, err
	}
	if t := in.StreamCreationTimestamp; t != nil && t.Unix() != st.created.Unix() {
		return nil, b.noStream(st.name)
	}
	after := ""
	if in.NextToken != "" {
		content, err := openToken(now, tokenConsumers, in.NextToken)
		if err != nil {
			return nil, err
		}
		var arn string
		if arn, after, _ = strings.Cut(content, "|"); arn != st.arn {
			return nil, invalid("NextToken does not belong to the stream with StreamARN %s.", st.arn)
		}
	}
	out := struct {
		Consumers []consumerSummary
		NextToken string `json:",omitempty"`
	}{Consumers: []consumerSummary{}}
	for _, name := range sortedKeys(st.consumers) {
		if name <= after {
			continue
		}
		if len(out.Consumers) == limit {
			out.NextToken = sealToken(now, tokenConsumers, st.arn+"|"+out.Consumers[limit-1].ConsumerName)
			break
		}
		out.Consumers = append(out.Consumers, st.consumers[name].summaryLocked())
	}
	return out, nil
}
