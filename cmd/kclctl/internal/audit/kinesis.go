package audit

import (
	"maps"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/streaminfo"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/leases"
)

// checkAnswer compares the leases with the answer of Kinesis about their stream.
func (a *auditor) checkAnswer(answer Answer) {
	if answer.Silent != "" {
		a.note("not-asked", []string{}, "Kinesis was not asked: %s", answer.Silent)
		return
	}
	if answer.Gone {
		a.find("stream-gone", keysOf(a.rows),
			"Kinesis has no stream %s: it was deleted, or is of another region or account", answer.Name)
		return
	}
	var earlier []leases.Lease // of a stream that was created at another time
	var was time.Time
	listed := false
	for _, l := range a.rows {
		created := l.StreamCreated
		if id, err := kcl.ParseStreamIdentifier(l.Stream); l.Stream != "" && err == nil {
			created = time.Unix(id.CreationEpoch, 0)
		}
		if !created.IsZero() && created.Unix() != answer.Stream.Created.Unix() {
			earlier, was = append(earlier, l), created
		}
		_, ok := answer.Stream.Shards[l.ShardID]
		listed = listed || ok
	}
	switch {
	case len(earlier) > 0:
		a.find("re-created", keysOf(earlier), "%s for stream %s as it was created at %s, but Kinesis says that it was "+
			"created at %s: these checkpoints find no record; see `kclctl leases help adopt`",
			view.Plural(len(earlier), "lease"), answer.Name,
			was.UTC().Format(time.RFC3339), answer.Stream.Created.UTC().Format(time.RFC3339))
	case len(a.rows) > 0 && !listed:
		a.find("other-stream", keysOf(a.rows), "Kinesis lists none of the shards for stream %s: "+
			"the leases are of another stream, or all their shards were trimmed", answer.Name)
	default:
		a.shards = answer.Stream.Shards
		for _, l := range a.rows {
			a.checkShard(l)
		}
		a.findMissing()
	}
}

// checkShard compares a lease with its shard.
func (a *auditor) checkShard(l leases.Lease) {
	shard, listed := a.shards[l.ShardID]
	switch {
	case !listed && !l.Finished():
		a.find("not-listed", []string{l.Key}, "%s is not finished, and Kinesis does not list its shard any more: "+
			"the records that were not read are lost", l.Key)
	case listed && l.Finished() && !shard.Closed():
		a.find("not-ended", []string{l.Key}, "%s is finished, and Kinesis says that its shard is open: "+
			"nobody reads its new records", l.Key)
	case listed && l.Started() && !l.Finished():
		if err := streaminfo.CheckRange(shard, l.Checkpoint); err != nil {
			a.find("out-of-range", []string{l.Key}, "the checkpoint of %s is not one of its shard: %v", l.Key, err)
		}
	}
}

// findMissing looks for listed shards without a lease that no worker comes to by itself. A worker
// comes to a shard through an ancestor that is unfinished, or that lists the shard as its child. A
// shard with a descendant that has a lease needs none.
func (a *auditor) findMissing() {
	children := map[string][]string{}
	for id, s := range a.shards {
		for _, p := range s.Parents() {
			children[p] = append(children[p], id)
		}
	}
	parentsOf := func(id string) []string { s := a.shards[id]; return s.Parents() }
	childrenOf := func(id string) []string { return children[id] }
	for _, id := range slices.Sorted(maps.Keys(a.shards)) {
		if _, ok := a.byShard[id]; ok || a.bad[id] {
			continue
		}
		leadsTo := func(l leases.Lease) bool { return !l.Finished() || slices.Contains(l.Children, id) }
		isThere := func(leases.Lease) bool { return true }
		if a.anyRelative(id, parentsOf, leadsTo) || a.anyRelative(id, childrenOf, isThere) {
			continue
		}
		a.find("missing-lease", []string{}, "Kinesis lists shard %s, which has no lease and waits for no other shard: "+
			"no worker runs on the stream, or the shard is a moment old", id)
	}
}

// anyRelative tells whether a shard that next leads to, directly or through others, has a lease
// with the property.
func (a *auditor) anyRelative(id string, next func(string) []string, property func(leases.Lease) bool) bool {
	seen := map[string]bool{}
	var search func(id string) bool
	search = func(id string) bool {
		return slices.ContainsFunc(next(id), func(relative string) bool {
			if seen[relative] {
				return false
			}
			seen[relative] = true
			l, ok := a.byShard[relative]
			return ok && property(l) || search(relative)
		})
	}
	return search(id)
}
