package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// asked is what Kinesis said about the streams of a table: by Lease.Stream.
type asked struct {
	known map[string]knownStream
	// names are the streams that Kinesis told about; silent says of the others why it
	// was not asked, or did not answer.
	names  []string
	silent map[string]string
}

// askAll asks Kinesis about every stream that has a row. Only for a stream that the
// command line names is it a failure when Kinesis does not answer.
func (s *source) askAll(ctx context.Context, rows []leases.Lease, flagged string) (asked, error) {
	a := asked{known: map[string]knownStream{}, silent: map[string]string{}}
	sample := map[string]leases.Lease{}
	for _, l := range rows {
		if old, ok := sample[l.Stream]; !ok || old.StreamARN == "" {
			sample[l.Stream] = l
		}
	}
	if _, several := sample[""]; flagged != "" && len(rows) > 0 && !several {
		return a, usagef("-stream is for a table of one stream: the keys of this one name the streams")
	}
	if len(rows) == 0 {
		sample[""] = leases.Lease{}
	}
	for stream, l := range sample {
		if stream != "" {
			flagged = ""
		}
		name, why := s.streamOf(flagged, l)
		if name == "" {
			a.silent[stream] = why
			continue
		}
		known, err := s.ask(ctx, name)
		_, gone := errors.AsType[*types.ResourceNotFoundException](err)
		switch {
		case gone:
			known = knownStream{gone: true}
		case err != nil && flagged != "":
			return a, err
		case err != nil:
			a.silent[stream] = err.Error()
			continue
		}
		known.name = name
		a.known[stream] = known
		a.names = append(a.names, name)
	}
	slices.Sort(a.names)
	return a, nil
}

// kinesis compares the leases with what Kinesis says.
func (a *auditor) kinesis() {
	k := a.known
	if k.gone {
		a.find("stream-gone", keysOf(a.rows), "Kinesis has no stream %s: it was deleted, or is of another region or account", k.name)
		return
	}
	var elsewhen []leases.Lease
	var was time.Time
	listed := false
	for _, l := range a.rows {
		created := l.StreamCreated
		if id, err := kcl.ParseStreamIdentifier(l.Stream); l.Stream != "" && err == nil {
			created = time.Unix(id.CreationEpoch, 0)
		}
		if !created.IsZero() && created.Unix() != k.created.Unix() {
			elsewhen, was = append(elsewhen, l), created
		}
		_, ok := k.shards[l.ShardID]
		listed = listed || ok
	}
	switch {
	case len(elsewhen) > 0:
		a.known = knownStream{}
		a.find("re-created", keysOf(elsewhen), "%s of stream %s as it was created at %s, and Kinesis says that it was created at %s: no record is read by these checkpoints; see `kclctl leases help adopt`",
			plural(len(elsewhen), "lease"), k.name, was.UTC().Format(time.RFC3339), k.created.UTC().Format(time.RFC3339))
	case len(a.rows) > 0 && !listed:
		a.known = knownStream{}
		a.find("other-stream", keysOf(a.rows), "Kinesis lists none of the shards for stream %s: the leases are of another stream, or all their shards were trimmed", k.name)
	default:
		for _, l := range a.rows {
			a.position(l)
		}
		a.missing()
	}
}

// position compares one lease with its shard.
func (a *auditor) position(l leases.Lease) {
	shard, listed := a.known.shards[l.ShardID]
	switch {
	case !listed && !l.Finished():
		a.find("not-listed", []string{l.Key}, "%s is not finished, and Kinesis does not list its shard any more: what was not read of it is lost", l.Key)
	case listed && l.Finished() && !shard.Closed():
		a.find("not-ended", []string{l.Key}, "%s is finished, and Kinesis says that its shard is open: what comes there is read by nobody", l.Key)
	case listed && l.Started() && !l.Finished():
		if err := outside(shard, l.Checkpoint); err != nil {
			a.find("out-of-range", []string{l.Key}, "the checkpoint of %s is not one of its shard: %v", l.Key, err)
		}
	}
}

// missing looks for listed shards that have no lease, and that no worker comes to by
// itself: neither an ancestor is unfinished, nor has a descendant a lease.
func (a *auditor) missing() {
	children := map[string][]string{}
	for id, s := range a.known.shards {
		for _, p := range s.Parents() {
			children[p] = append(children[p], id)
		}
	}
	var any func(id string, next func(string) []string, is func(leases.Lease) bool, seen map[string]bool) bool
	any = func(id string, next func(string) []string, is func(leases.Lease) bool, seen map[string]bool) bool {
		for _, other := range next(id) {
			if seen[other] {
				continue
			}
			seen[other] = true
			if l, ok := a.byShard[other]; (ok && is(l)) || any(other, next, is, seen) {
				return true
			}
		}
		return false
	}
	older := func(id string) []string { s := a.known.shards[id]; return s.Parents() }
	younger := func(id string) []string { return children[id] }
	for _, id := range slices.Sorted(maps.Keys(a.known.shards)) {
		if _, ok := a.byShard[id]; ok || a.bad[id] {
			continue
		}
		if any(id, older, func(l leases.Lease) bool { return !l.Finished() || slices.Contains(l.Children, id) }, map[string]bool{}) ||
			any(id, younger, func(leases.Lease) bool { return true }, map[string]bool{}) {
			continue
		}
		a.find("missing-lease", []string{}, "Kinesis lists shard %s, which has no lease, and nothing that it waits for: no worker looks at the stream, or it was made a moment ago", id)
	}
}
