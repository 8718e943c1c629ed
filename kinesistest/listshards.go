package kinesistest

import (
	"strings"
	"time"
)

// ListShards: the shards of a stream in order of id, without those that have expired.
//
//	filter            shards
//	none              all within the retention period
//	AFTER_SHARD_ID    those after ShardId; what ExclusiveStartShardId does too
//	AT_TRIM_HORIZON   open at the horizon (or when the stream was made, if that is later)
//	FROM_TRIM_HORIZON all within the retention period
//	AT_LATEST         open now
//	AT_TIMESTAMP      open at the time: made at or before it, and still open or ended at or after it
//	FROM_TIMESTAMP    closed at or after the time, and all open ones; a time before the horizon
//	                  means the horizon
//
// A page has at most 1000 shards. Its NextToken may be used for 300 seconds, then it is
// ExpiredNextTokenException. The token stands for the stream, the filter and the place, so it
// excludes StreamName, StreamCreationTimestamp and ExclusiveStartShardId. StreamCreationTimestamp
// tells streams of the same name apart. A stream takes 1000 calls per second.

var shardOperations = []operation{define("ListShards", listShards)}

type shardFilter struct {
	Type      string     `json:"Type"`
	ShardID   string     `json:"ShardId"`
	Timestamp *timestamp `json:"Timestamp"`
}

type listShardsInput struct {
	streamRef
	NextToken               string       `json:"NextToken"`
	ExclusiveStartShardID   string       `json:"ExclusiveStartShardId"`
	MaxResults              *int32       `json:"MaxResults"`
	ShardFilter             *shardFilter `json:"ShardFilter"`
	StreamCreationTimestamp *timestamp   `json:"StreamCreationTimestamp"`
}

func (in *listShardsInput) resource() resource {
	if _, content, ok := unseal(tokenShards, in.NextToken); ok {
		name, _, _ := strings.Cut(content, "|")
		return resource{stream: name}
	}
	return in.streamRef.resource()
}

type listShardsOutput struct {
	Shards    []shardDescription `json:"Shards"`
	NextToken string             `json:"NextToken,omitempty"`
}

func listShards(b *backend, now time.Time, in *listShardsInput) (any, error) {
	limit, err := b.page(in.MaxResults, "maxResults", defaultPage, 10000, defaultPage)
	if err != nil {
		return nil, err
	}
	filter, after := shardFilter{}, in.ExclusiveStartShardID
	if in.ShardFilter != nil {
		filter = *in.ShardFilter
		if filter.Type == "" {
			return nil, missing("shardFilter.type")
		}
	}
	ref, created := in.streamRef, in.StreamCreationTimestamp
	if in.NextToken != "" {
		if err := excludedByToken(in); err != nil {
			return nil, err
		}
		place, err := openShardsToken(now, in.NextToken)
		if err != nil {
			return nil, err
		}
		if in.StreamARN != "" && in.name() != place.stream {
			return nil, invalid("NextToken does not belong to the stream with StreamARN %s.", in.StreamARN)
		}
		ref, created, filter, after = streamRef{StreamName: place.stream}, &place.created, place.filter, place.after
	}
	st, err := b.findLocked(ref)
	if err != nil {
		return nil, err
	}
	if created != nil && created.Unix() != st.created.Unix() {
		return nil, errf(codeResourceNotFound, "Stream %s under account %s created at %s not found.", st.name,
			b.cfg.AccountID, created.UTC().Format(time.RFC3339))
	}
	if st.status == statusCreating {
		return nil, errf(codeResourceInUse, "Stream %s under account %s not ACTIVE, instead in state %s", st.name,
			b.cfg.AccountID, st.status)
	}
	keep, err := st.filterLocked(now, filter)
	if err != nil {
		return nil, err
	}
	out := listShardsOutput{Shards: []shardDescription{}}
	for _, sh := range st.shards {
		if sh.id <= after || !keep(sh) {
			continue
		}
		if len(out.Shards) == limit {
			place := shardsPlace{
				stream:  st.name,
				created: newTimestamp(st.created),
				filter:  filter,
				after:   out.Shards[limit-1].ShardID,
			}
			out.NextToken = place.seal(now)
			break
		}
		out.Shards = append(out.Shards, sh.describeLocked())
	}
	return out, nil
}

func excludedByToken(in *listShardsInput) error {
	switch {
	case in.StreamName != "":
		return invalid("NextToken and StreamName cannot be provided together.")
	case in.StreamCreationTimestamp != nil:
		return invalid("NextToken and StreamCreationTimestamp cannot be provided together.")
	case in.ExclusiveStartShardID != "":
		return invalid("NextToken and ExclusiveStartShardId cannot be provided together.")
	}
	return nil
}

// filterLocked returns the shards that pass a filter.
func (st *stream) filterLocked(now time.Time, f shardFilter) (func(*shard) bool, error) {
	// The horizon is never before the beginning of the stream, when its first shards were made.
	horizon := st.horizon(now)
	if first := st.firstLocked(); horizon.Before(first) {
		horizon = first
	}
	openAt := func(t time.Time) func(*shard) bool {
		return func(sh *shard) bool { return !sh.created.After(t) && (sh.open() || !sh.closed.Before(t)) }
	}
	if f.Timestamp == nil && strings.HasSuffix(f.Type, "_TIMESTAMP") {
		return nil, invalid("Timestamp must be provided for ShardFilter of type %s.", f.Type)
	}
	switch f.Type {
	case "", "FROM_TRIM_HORIZON":
		return func(*shard) bool { return true }, nil
	case "AFTER_SHARD_ID":
		if f.ShardID == "" {
			return nil, invalid("ShardId must be provided for ShardFilter of type AFTER_SHARD_ID.")
		}
		return func(sh *shard) bool { return sh.id > f.ShardID }, nil
	case "AT_TRIM_HORIZON":
		return openAt(horizon), nil
	case "AT_LATEST":
		return func(sh *shard) bool { return sh.open() }, nil
	case "AT_TIMESTAMP":
		t := f.Timestamp.Time
		if t.Before(horizon) {
			t = horizon
		}
		return openAt(t), nil
	case "FROM_TIMESTAMP":
		t := f.Timestamp.Time
		return func(sh *shard) bool { return sh.open() || !sh.closed.Before(t) }, nil
	}
	return nil, constraint(f.Type, "shardFilter.type",
		"Member must satisfy enum value set: [AFTER_SHARD_ID, AT_TRIM_HORIZON, FROM_TRIM_HORIZON, AT_LATEST, "+
			"AT_TIMESTAMP, FROM_TIMESTAMP]")
}

// firstLocked is when the oldest of the remaining shards was made.
func (st *stream) firstLocked() time.Time {
	if len(st.shards) == 0 {
		return st.created
	}
	first := st.shards[0].created
	for _, sh := range st.shards {
		if sh.created.Before(first) {
			first = sh.created
		}
	}
	return first
}

// shardsPlace is the content of a NextToken of ListShards.
type shardsPlace struct {
	stream  string
	created timestamp
	filter  shardFilter
	after   string
}

func (p shardsPlace) seal(now time.Time) string {
	at := ""
	if p.filter.Timestamp != nil {
		at = itoa64(p.filter.Timestamp.UnixMilli())
	}
	fields := []string{p.stream, itoa64(p.created.UnixMilli()), p.filter.Type, p.filter.ShardID, at, p.after}
	return sealToken(now, tokenShards, strings.Join(fields, "|"))
}

func openShardsToken(now time.Time, token string) (shardsPlace, error) {
	content, err := openToken(now, tokenShards, token)
	if err != nil {
		return shardsPlace{}, err
	}
	fields := strings.Split(content, "|")
	if len(fields) != 6 {
		return shardsPlace{}, invalid("NextToken is invalid.")
	}
	p := shardsPlace{
		stream:  fields[0],
		created: millis(fields[1]),
		filter:  shardFilter{Type: fields[2], ShardID: fields[3]},
		after:   fields[5],
	}
	if fields[4] != "" {
		at := millis(fields[4])
		p.filter.Timestamp = &at
	}
	return p, nil
}
