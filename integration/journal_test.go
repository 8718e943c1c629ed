package integration

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// event is one line of a worker: see goWorker.
type event struct {
	micros                      int64
	worker                      string
	kind, shard, sequence, data string
}

// journal collects what several worker processes print, and the ledger says what was put.
type journal struct {
	*ledger // what was put; what was processed is filled in by replay only

	mu      sync.Mutex // guards the fields below
	events  []event
	seen    map[string]int    // records by data: how often
	in      map[string]string // the shard in which a partition key was last
	counts  map[string]int    // events by "worker kind"
	foreign []string          // lines that are none of ours
}

func newJournal() *journal {
	return &journal{ledger: newLedger(), seen: map[string]int{}, in: map[string]string{}, counts: map[string]int{}}
}

// note adds one line of a worker.
func (j *journal) note(worker, text string) {
	fields := strings.SplitN(text, "\t", 5)
	micros, err := strconv.ParseInt(fields[0], 10, 64)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil || len(fields) != 5 {
		j.foreign = append(j.foreign, fmt.Sprintf("%s printed %q", worker, text))
		return
	}
	e := event{micros, worker, fields[1], fields[2], fields[3], fields[4]}
	j.events = append(j.events, e)
	j.counts[worker+" "+e.kind]++
	if e.kind == "record" {
		key, _, _ := strings.Cut(e.data, " ")
		j.seen[e.data]++
		j.in[key] = e.shard
	}
}

// missing is how many of the records put so far no worker has printed, and duplicates how many
// deliveries were not the first of their record.
func (j *journal) missing() (missing, duplicates int) {
	j.ledger.mu.Lock()
	put := maps.Clone(j.put)
	j.ledger.mu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, n := range put {
		for number := 1; number <= n; number++ {
			if j.seen[key+" "+strconv.Itoa(number)] == 0 {
				missing++
			}
		}
	}
	for _, n := range j.seen {
		duplicates += n - 1
	}
	return missing, duplicates
}

// count is how many events of a kind a worker has printed.
func (j *journal) count(worker, kind string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.counts[worker+" "+kind]
}

// times is how often a record was delivered.
func (j *journal) times(data string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seen[data]
}

// keysIn are the partition keys whose last record was in one of the shards.
func (j *journal) keysIn(shards []string) (keys []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, shard := range j.in {
		if slices.Contains(shards, shard) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// replay goes through all events in the order in which they happened. It returns each of these
// faults: a record out of order within its key; a record delivered again by a worker that began
// with the shard after a checkpoint behind that record; likewise a record of a shard that had
// ended. (A worker from which a lease was taken may deliver a little more before it knows.)
func (j *journal) replay() (wrong []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	slices.SortStableFunc(j.events, func(a, b event) int { return cmp.Compare(a.micros, b.micros) })
	l := newLedger()
	checkpoints := map[string]event{}
	began := map[string]int64{}      // by worker and shard
	delivered := map[string]string{} // by worker and shard: the last sequence number
	ended := map[string]event{}
	for _, e := range j.events {
		from := e.worker + " " + e.shard
		switch e.kind {
		case "initialize":
			began[from] = e.micros
		case "record":
			if err := l.process(e.worker, e.shard, e.sequence, e.data); err != nil {
				wrong = append(wrong, err.Error())
			}
			if c, ok := checkpoints[e.shard]; ok && c.micros < began[from] && compareSequence(e.sequence, c.sequence) <= 0 {
				wrong = append(wrong, fmt.Sprintf("%v was checkpointed before: %v", e, c))
			}
			if end, ok := ended[e.shard]; ok && end.micros < began[from] {
				wrong = append(wrong, fmt.Sprintf("%v came after %v", e, end))
			}
			delivered[from] = e.sequence
		case "checkpoint":
			e.sequence = cmp.Or(e.sequence, delivered[from])
			if c, ok := checkpoints[e.shard]; e.sequence != "" && (!ok || compareSequence(e.sequence, c.sequence) > 0) {
				checkpoints[e.shard] = e
			}
		case "ended":
			ended[e.shard] = e
		case "failed":
			wrong = append(wrong, fmt.Sprint(e))
		}
	}
	return slices.Concat(wrong, j.foreign, l.disorder)
}

// compareSequence compares two sequence numbers, which are decimal numbers without leading zeros.
func compareSequence(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// String lists who did what, without the records.
func (j *journal) String() string {
	missing, duplicates := j.missing()
	j.mu.Lock()
	defer j.mu.Unlock()
	var out bytes.Buffer
	fmt.Fprintf(&out, "missing %d, duplicates %d, events %v", missing, duplicates, j.counts)
	for _, e := range j.events {
		if e.kind != "record" && e.kind != "checkpoint" {
			fmt.Fprintf(&out, "\n%d.%03d %s %s %s %s %s", e.micros/1e6%1000, e.micros/1000%1000, e.worker, e.kind, e.shard,
				e.sequence, e.data)
		}
	}
	return out.String()
}
