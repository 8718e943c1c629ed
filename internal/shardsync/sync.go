package shardsync

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// LeaseKey returns the key of a shard's lease: the shard id, or stream:shardId in an application
// with several streams.
func LeaseKey(stream kcl.StreamIdentifier, shardID string, multi bool) string {
	if !multi {
		return shardID
	}
	return stream.String() + ":" + shardID
}

// Options are the options of [Plan].
type Options struct {
	// Stream is the stream whose shards are planned.
	Stream kcl.StreamIdentifier
	// Multi says that the application reads several streams, and that keys contain the stream.
	Multi bool
	// PinnedAt is the service's time just before the shards were listed, less a margin. New leases
	// at LATEST get it. It is zero when it is not known.
	PinnedAt time.Time
	// StreamCreated is the stream's creation time. Every new lease gets it.
	StreamCreated time.Time
	// Application is the name of the application. Every new lease gets it, beside the stream's ARN;
	// see [Marks].
	Application string
	// Unreadable are rows that exist and cannot be read. Each counts as a row of its shard. Those of
	// other streams are ignored.
	Unreadable []*leases.RowError
}

// shardOf returns the shard of a key, if the key belongs to the stream.
func (o Options) shardOf(key string) (id string, ok bool) {
	if !o.Multi {
		return key, true
	}
	return strings.CutPrefix(key, o.Stream.String()+":")
}

// ChildLease returns the row for a child of parent's shard. It starts at TRIM_HORIZON, whatever the
// application's initial position is.
func ChildLease(parent leases.Lease, child kcl.ChildShard) leases.Lease {
	l := leases.Lease{
		Key: child.ID, Stream: parent.Stream, ShardID: child.ID,
		Checkpoint:   kcl.InitialPosition{Kind: kcl.TrimHorizon}.Sentinel(),
		Parents:      slices.Clone(child.Parents),
		HashKeyRange: child.HashKeyRange, ThroughputKBps: -1,
		Extension: leases.Extension{
			StreamCreated: parent.StreamCreated, Origin: parent.Origin,
			Application: parent.Application, StreamARN: parent.StreamARN,
		},
	}
	if l.Stream != "" {
		l.Key = l.Stream + ":" + child.ID
	}
	if len(l.Parents) == 0 {
		l.Parents = []string{parent.ShardID}
	}
	return l
}

// Plan returns the rows that are missing for the listed shards of one stream, parents before their
// children. Create them in this order, or one generation after the other; see [Generations]. rows
// are the rows of the table. Those of other streams are ignored. Plan is pure, and planning again
// with its result plans nothing.
//
// While the stream has no row, the initial position decides. Each new row says where the
// application began ([leases.Extension]).
//
//   - TRIM_HORIZON starts with all listed shards, closed ones too.
//   - LATEST starts with the open shards, pinned to opt.PinnedAt.
//   - AT_TIMESTAMP starts with all listed shards, pinned to the configured time. Their descendants
//     start at TRIM_HORIZON. The caller lists the shards from that time on.
//
// When the stream has rows, a shard that descends from one with a row starts at TRIM_HORIZON. An
// ancestor of a shard with a row never gets a row: it was finished, or never read. A shard gets no
// row either if it may be such an ancestor, see [PlanComplete].
//
// A shard may be no relative of any shard with a row. It was missed when the first rows were made.
// The worker that made them died, or two workers start at the same time. Such a shard starts where
// the application began, see [StreamOrigin], whatever is configured now. So no record is skipped,
// and none from before the configured start is read. Rows of another library tell no origin. Then
// such a shard starts at the configured time, or else at TRIM_HORIZON. (The KCL lets such a shard
// start at LATEST at the time of its first read.)
func Plan(shards []kcl.Shard, rows []leases.Lease, initial kcl.InitialPosition, opt Options) []leases.Lease {
	plan, _ := PlanComplete(shards, rows, initial, opt)
	return plan
}

// PlanComplete is [Plan], and tells whether the list was complete. lacks is a listed shard that is
// closed and has no listed child, and for whose sake a row is left out; empty if there is none. A
// closed shard always has children, and the service forgets no shard before its parents. So the
// list is incomplete: list again. Descendants of the shard may have rows, and then the shard was
// finished long ago.
func PlanComplete(
	shards []kcl.Shard, rows []leases.Lease, initial kcl.InitialPosition, opt Options,
) (plan []leases.Lease, lacks string) {
	g := newGraph(shards, rows, opt)
	start := g.frontier(initial)
	for _, s := range g.order {
		if g.hasRow[s.ID] || g.ancestors[s.ID] {
			continue
		}
		l := newLease(s, opt)
		l.Origin = start.storedOrigin
		if !g.descends(s) {
			if id := g.lacksChild(s); id != "" && len(g.rows) > 0 {
				lacks = cmp.Or(lacks, id)
				continue
			}
			if !start.accepts(s) {
				continue
			}
			l.Checkpoint, l.PinnedAt, l.Origin = start.checkpoint, start.pinnedAt, start.origin
		}
		// With a known time the pin decides, not descent. Two missed shards may be parent and child,
		// and the child may be older than the pin.
		if !start.pinDecides {
			g.hasRow[s.ID] = true
		}
		plan = append(plan, l)
	}
	return plan, lacks
}

// Generations splits a plan of [Plan] for the listed shards. No row of a generation is an ancestor
// of another. Once the rows of the earlier generations exist, those of the next one can be
// created in any order, or at the same time. The result has the rows of plan and no others.
func Generations(plan []leases.Lease, shards []kcl.Shard) [][]leases.Lease {
	parents := make(map[string][]string, len(shards))
	for _, s := range shards {
		parents[s.ID] = s.Parents()
	}
	depths := make(map[string]int, len(shards))
	var depth func(id string) int
	depth = func(id string) int {
		if d, ok := depths[id]; ok {
			return d
		}
		depths[id] = 0 // ends the recursion if foreign data have a circle
		d := 0
		for _, p := range parents[id] {
			d = max(d, depth(p)+1)
		}
		depths[id] = d
		return d
	}
	var all [][]leases.Lease
	for _, l := range plan {
		d := depth(l.ShardID)
		for len(all) <= d {
			all = append(all, nil)
		}
		all[d] = append(all[d], l)
	}
	return slices.DeleteFunc(all, func(g []leases.Lease) bool { return len(g) == 0 })
}

// newLease returns the row for a shard that is read from TRIM_HORIZON.
func newLease(s kcl.Shard, opt Options) leases.Lease {
	l := leases.Lease{
		Key: LeaseKey(opt.Stream, s.ID, opt.Multi), ShardID: s.ID,
		Checkpoint: kcl.InitialPosition{Kind: kcl.TrimHorizon}.Sentinel(),
		Parents:    s.Parents(), HashKeyRange: s.HashKeyRange, ThroughputKBps: -1,
		Extension: leases.Extension{StreamCreated: opt.StreamCreated},
	}
	if opt.Multi {
		l.Stream = opt.Stream.String()
	}
	l, _ = MarksOf(opt.Application, opt.Stream, opt.Multi).Complete(l)
	return l
}

// graph is the family of a stream's shards.
type graph struct {
	order        []kcl.Shard          // parents before children
	byID         map[string]kcl.Shard // listed
	hasRow       map[string]bool      // has a row, or gets one by the plan
	ancestors    map[string]bool      // is an ancestor of a shard that has a row
	descendsMemo map[string]bool      // memo of descends
	rows         []leases.Lease
	hasOpenChild map[string]bool // is the parent of an open shard
	children     map[string][]string
	lacksMemo    map[string]string // memo of lacksChild
	opt          Options
}

func newGraph(shards []kcl.Shard, rows []leases.Lease, opt Options) *graph {
	g := &graph{
		byID: map[string]kcl.Shard{}, hasRow: map[string]bool{}, ancestors: map[string]bool{},
		descendsMemo: map[string]bool{}, hasOpenChild: map[string]bool{}, children: map[string][]string{},
		lacksMemo: map[string]string{}, opt: opt,
	}
	parents := map[string][]string{}
	for _, s := range shards {
		g.byID[s.ID] = s
		parents[s.ID] = s.Parents()
		for _, p := range s.Parents() {
			g.hasOpenChild[p] = g.hasOpenChild[p] || !s.Closed()
			g.children[p] = append(g.children[p], s.ID)
		}
	}
	for _, l := range rows {
		if !opt.owns(l) {
			continue
		}
		g.rows = append(g.rows, l)
		g.hasRow[l.ShardID] = true
		if parents[l.ShardID] == nil {
			parents[l.ShardID] = l.Parents // the shard was trimmed, but its row names the parents
		}
	}
	for _, row := range opt.Unreadable {
		if id, ok := opt.shardOf(row.Key); ok {
			g.hasRow[id] = true
		}
	}
	var markAncestors func(id string)
	markAncestors = func(id string) {
		for _, p := range parents[id] {
			if !g.ancestors[p] {
				g.ancestors[p] = true
				markAncestors(p)
			}
		}
	}
	for id := range g.hasRow {
		markAncestors(id)
	}

	sorted := slices.SortedFunc(func(yield func(kcl.Shard) bool) {
		for _, s := range g.byID {
			if !yield(s) {
				return
			}
		}
	}, compareShards)
	added := map[string]bool{}
	var addAfterParents func(s kcl.Shard)
	addAfterParents = func(s kcl.Shard) {
		if added[s.ID] {
			return
		}
		added[s.ID] = true
		for _, id := range s.Parents() {
			if p, ok := g.byID[id]; ok {
				addAfterParents(p)
			}
		}
		g.order = append(g.order, s)
	}
	for _, s := range sorted {
		addAfterParents(s)
	}
	return g
}

// compareShards orders shards by starting sequence number and then by id, as the KCL does.
func compareShards(a, b kcl.Shard) int {
	start := func(s kcl.Shard) kcl.ExtendedSequenceNumber {
		return kcl.ExtendedSequenceNumber{SequenceNumber: s.StartingSequenceNumber}
	}
	return cmp.Or(start(a).Compare(start(b)), strings.Compare(a.ID, b.ID))
}

// descends tells whether s descends from a shard that has a row.
func (g *graph) descends(s kcl.Shard) bool {
	if descends, ok := g.descendsMemo[s.ID]; ok {
		return descends
	}
	g.descendsMemo[s.ID] = false // ends the recursion if foreign data have a circle
	descends := false
	for _, id := range s.Parents() {
		p, listed := g.byID[id]
		descends = descends || g.hasRow[id] || (listed && g.descends(p))
	}
	g.descendsMemo[s.ID] = descends
	return descends
}

// lacksChild returns a closed shard without a listed child among s and its descendants; empty if
// all lines of descent end in open shards.
func (g *graph) lacksChild(s kcl.Shard) string {
	if id, ok := g.lacksMemo[s.ID]; ok {
		return id
	}
	g.lacksMemo[s.ID] = "" // ends the recursion if foreign data have a circle
	lacks := ""
	if s.Closed() && len(g.children[s.ID]) == 0 {
		lacks = s.ID
	}
	for _, id := range g.children[s.ID] {
		lacks = cmp.Or(lacks, g.lacksChild(g.byID[id]))
	}
	g.lacksMemo[s.ID] = lacks
	return lacks
}

// twoReshards is less than the time to reshard a stream and then to reshard the result.
const twoReshards = 30 * time.Second

// frontier says where shards start that are no relatives of a shard with a row.
type frontier struct {
	accepts      func(kcl.Shard) bool
	checkpoint   kcl.ExtendedSequenceNumber
	pinnedAt     time.Time
	pinDecides   bool          // the children of such shards start at pinnedAt too
	origin       leases.Origin // of the rows of such shards
	storedOrigin leases.Origin // of all other new rows; zero when the rows do not tell one
}

// frontier decides where shards start that are no relatives of a shard with a row.
func (g *graph) frontier(initial kcl.InitialPosition) frontier {
	first := len(g.rows) == 0
	storedOrigin := StreamOrigin(g.rows, initial, g.opt)
	if first {
		storedOrigin = OriginOf(initial, g.opt.PinnedAt)
	}
	f := frontier{accepts: func(kcl.Shard) bool { return true }, origin: storedOrigin, storedOrigin: storedOrigin}
	if storedOrigin.IsZero() && initial.Kind != kcl.Latest { // the next worker must not decide otherwise
		f.origin = OriginOf(initial, time.Time{})
	}
	kind := f.origin.Kind
	if kind == "" && (first || initial.Kind == kcl.AtTimestamp) {
		kind = initial.Sentinel().SequenceNumber // without its time, which the caller fills in
	}
	switch kind {
	case kcl.SentinelAtTimestamp:
		// Roots start at the configured time. Their descendants are younger than that time, unless
		// the parent is listed only for its last records. Later lists contain shards from before
		// that time as well.
		f.pinDecides = !first && !storedOrigin.IsZero()
	case kcl.SentinelLatest:
		f.pinDecides = true
		if first {
			f.accepts = func(s kcl.Shard) bool { return !s.Closed() }
		} else if now := g.opt.PinnedAt; !now.IsZero() && now.Sub(storedOrigin.At) < twoReshards {
			// A closed shard may have been closed since then. Shortly after the start that is
			// possible only for the parent of an open shard.
			f.accepts = func(s kcl.Shard) bool { return !s.Closed() || g.hasOpenChild[s.ID] }
		}
	default:
		f.checkpoint = kcl.InitialPosition{Kind: kcl.TrimHorizon}.Sentinel()
		return f
	}
	f.checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: kind}
	f.pinnedAt = f.origin.At
	return f
}
