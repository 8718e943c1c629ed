package kinesistest

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// account is the AWS account that the server shows, with its streams. It finds them and knows the
// limits. One mutex guards it. The mutex is held for a few lines of memory work, and never across
// I/O, a channel or a timer.
type account struct {
	cfg Config

	mu         sync.Mutex // guards the fields below, those of backend, and what they point to
	streams    map[string]*stream
	rates      map[string]*bucket
	commitment commitment
}

// backend runs the operations on the account. It holds everything that outlives a request.
type backend struct {
	account

	calls  map[string]int
	epochs map[string]int64 // last creation second by ARN, so that a name that is used again gets a new one
	subs   int
	timers map[*time.Timer]struct{}
	closed bool
}

func newBackend(cfg Config) *backend {
	b := &backend{
		account: account{cfg: cfg.withDefaults(), streams: map[string]*stream{}, rates: map[string]*bucket{}},
		calls:   map[string]int{}, epochs: map[string]int64{}, timers: map[*time.Timer]struct{}{},
	}
	now := time.Now()
	for _, sc := range b.cfg.Streams {
		b.addStreamLocked(now, sc)
	}
	return b
}

// addStreamLocked adds a stream that is ACTIVE. Its configuration has been validated.
func (b *backend) addStreamLocked(now time.Time, sc StreamConfig) {
	sc = sc.withDefaults()
	st := b.newStream(now, sc.Name, sc.Shards)
	if sc.OnDemand {
		st.mode = modeOnDemand
	}
	if sc.AutoDistribution {
		st.distribution = distributionAuto
	}
	st.retention = sc.Retention
	st.maxRecordKiB = sc.MaxRecordSizeKiB
	st.status = statusActive
}

// close stops the changes of state that are under way.
func (b *backend) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for t := range b.timers {
		t.Stop()
	}
	clear(b.timers)
}

// newStream adds a stream in state CREATING. Its shards have equal hash ranges.
func (b *backend) newStream(now time.Time, name string, shards int) *stream {
	arn := fmt.Sprintf("arn:aws:kinesis:%s:%s:stream/%s", b.cfg.Region, b.cfg.AccountID, name)
	st := &stream{
		name:         name,
		arn:          arn,
		created:      b.creation(arn, now),
		status:       statusCreating,
		mode:         modeProvisioned,
		distribution: distributionUser,
		retention:    DefaultRetention,
		maxRecordKiB: minRecordKiB,
		encryption:   encryptionNone,
		tags:         map[string]string{},
		consumers:    map[string]*consumer{},
		gone:         make(chan struct{}),
	}
	for _, r := range evenRanges(shards) {
		st.addShardLocked(now, r)
	}
	b.streams[name] = st
	return st
}

// creation is the creation time of a stream: now in whole seconds, but later than any former stream
// of the same ARN.
func (b *backend) creation(arn string, now time.Time) time.Time {
	s := seconds(now)
	if last, ok := b.epochs[arn]; ok {
		s = max(s, last+1)
	}
	b.epochs[arn] = s
	return time.Unix(s, 0).UTC()
}

// afterLocked runs f with the mutex held once StateDelay has passed, and at once if the delay is
// negative.
func (b *backend) afterLocked(f func(now time.Time)) {
	if b.cfg.StateDelay < 0 {
		f(time.Now())
		return
	}
	var t *time.Timer
	t = time.AfterFunc(b.cfg.StateDelay, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.timers, t)
		if !b.closed {
			f(time.Now())
		}
	})
	b.timers[t] = struct{}{}
}

// updateLocked makes the stream UPDATING for StateDelay and then calls f.
func (b *backend) updateLocked(st *stream, f func(now time.Time)) {
	st.status = statusUpdating
	b.afterLocked(func(now time.Time) {
		if st.status != statusUpdating {
			return // it is being deleted
		}
		f(now)
		st.status = statusActive
	})
}

// streamRef is how requests name a stream.
type streamRef struct {
	StreamName string `json:"StreamName"`
	StreamARN  string `json:"StreamARN"`
}

// name is the name of the stream, which need not exist.
func (r streamRef) name() string {
	if r.StreamName != "" {
		return r.StreamName
	}
	_, name, _ := strings.Cut(r.StreamARN, ":stream/")
	return name
}

func (r streamRef) resource() resource { return resource{stream: r.name(), streamARN: r.StreamARN} }

// findLocked returns the stream that a request names by name, ARN or both.
func (a *account) findLocked(r streamRef) (*stream, error) {
	if r.StreamName == "" && r.StreamARN == "" {
		return nil, invalid("Either StreamName or StreamARN must be provided.")
	}
	if r.StreamName != "" && !validName.MatchString(r.StreamName) {
		return nil, constraint(r.StreamName, "streamName", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	}
	if r.StreamARN != "" {
		arn, ok := parseARN(r.StreamARN)
		if !ok || arn.consumer != "" {
			return nil, constraint(r.StreamARN, "streamARN", "Member must satisfy regular expression pattern: "+
				"arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+")
		}
		if r.StreamName != "" && arn.stream != r.StreamName {
			return nil, invalid("StreamARN %s does not belong to the stream with StreamName %s.", r.StreamARN, r.StreamName)
		}
		if arn.account != a.cfg.AccountID || arn.region != a.cfg.Region {
			return nil, errf(codeResourceNotFound, "Stream %s under account %s not found.", arn.stream, arn.account)
		}
	}
	st, ok := a.streams[r.name()]
	if !ok {
		return nil, a.noStream(r.name())
	}
	st.expireLocked(time.Now())
	return st, nil
}

// findUsableLocked is findLocked for operations on data. For them a stream that is CREATING or
// DELETING does not exist.
func (a *account) findUsableLocked(r streamRef) (*stream, error) {
	st, err := a.findLocked(r)
	if err != nil {
		return nil, err
	}
	if !st.usable() {
		return nil, a.noStream(st.name)
	}
	return st, nil
}

// findActiveLocked is findLocked for operations that change a stream. For them the stream must be
// ACTIVE.
func (a *account) findActiveLocked(r streamRef) (*stream, error) {
	st, err := a.findLocked(r)
	if err != nil {
		return nil, err
	}
	if st.status != statusActive {
		return nil, errf(codeResourceInUse, "Stream %s under account %s not ACTIVE, instead in state %s", st.name,
			a.cfg.AccountID, st.status)
	}
	return st, nil
}

func (a *account) noStream(name string) *apiError {
	return errf(codeResourceNotFound, "Stream %s under account %s not found.", name, a.cfg.AccountID)
}

func (a *account) noShard(st *stream, id string) *apiError {
	return errf(codeResourceNotFound, "Could not find shard %s in stream %s under account %s.", id, st.name,
		a.cfg.AccountID)
}

// findShardLocked returns the shard that a request names.
func (a *account) findShardLocked(st *stream, id string) (*shard, error) {
	if id == "" {
		return nil, missing("shardId")
	}
	if !validName.MatchString(id) {
		return nil, constraint(id, "shardId", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	}
	sh, ok := st.shardLocked(id)
	if !ok {
		return nil, a.noShard(st, id)
	}
	return sh, nil
}

// arnParts are the parts of the ARN of a stream or consumer.
type arnParts struct {
	region, account, stream string
	consumer                string // empty for a stream
	created                 string // epoch seconds of the consumer
}

// parseARN reads arn:aws:kinesis:REGION:ACCOUNT:stream/NAME[/consumer/NAME:EPOCH].
func parseARN(text string) (arnParts, bool) {
	fields := strings.SplitN(text, ":", 6)
	if len(fields) != 6 || fields[0] != "arn" || !strings.HasPrefix(fields[1], "aws") || fields[2] != "kinesis" {
		return arnParts{}, false
	}
	p := arnParts{region: fields[3], account: fields[4]}
	path := strings.Split(fields[5], "/")
	if len(path) < 2 || path[0] != "stream" || !validName.MatchString(path[1]) || len(p.account) != 12 {
		return arnParts{}, false
	}
	p.stream = path[1]
	if len(path) == 2 {
		return p, true
	}
	if len(path) != 4 || path[2] != "consumer" {
		return arnParts{}, false
	}
	name, created, ok := strings.Cut(path[3], ":")
	if !ok || !validName.MatchString(name) || !isDecimal(created, 12) {
		return arnParts{}, false
	}
	p.consumer, p.created = name, created
	return p, true
}

// rateLocked counts a call against a rate, unless limits are off.
func (a *account) rateLocked(now time.Time, key string, perSecond int) bool {
	if a.cfg.DisableLimits {
		return true
	}
	r := a.rates[key]
	if r == nil {
		r = &bucket{}
		a.rates[key] = r
	}
	return r.take(now, 1, perSecond, perSecond)
}
