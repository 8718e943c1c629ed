package main

import (
	"cmp"
	"context"
	"flag"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// silentAfter is how old the last report of a dead worker is. A worker of KCL 3.x reports every 30
// s, and the leader takes it for dead after two missing reports.
const silentAfter = time.Minute

// Values of a report.
const (
	assignmentNative = "native"
	assignmentKCL3   = "KCL 3.x"
	libraryGo        = "kcl (Go)"
	libraryJava      = "KCL (Java)"
)

// fleetReport is what fleet prints, in JSON.
type fleetReport struct {
	Table          string        `json:"table"`
	Assignment     string        `json:"assignment"`
	ClientVersion  *stateReport  `json:"clientVersion,omitempty"`
	TableMigration *stateReport  `json:"tableMigration,omitempty"`
	SideTables     bool          `json:"sideTables"`
	Leader         *leaderReport `json:"leader,omitempty"`
	// ShardSync is the worker that workers of KCL 2.x leave shard sync to.
	ShardSync string         `json:"shardSyncLeader,omitempty"`
	Workers   []workerReport `json:"workers"`
	Bad       []view.BadRow  `json:"bad"`
}

type stateReport struct {
	Status string    `json:"status"`
	By     string    `json:"by"`
	At     time.Time `json:"at,omitzero"`
}

type leaderReport struct {
	Owner    string `json:"owner"`
	Duration string `json:"duration"`
	Released bool   `json:"released,omitempty"`
}

type workerReport struct {
	Worker   string               `json:"worker"`
	Leases   int                  `json:"leases"`
	Library  string               `json:"library,omitempty"`
	Reported time.Time            `json:"reported,omitzero"`
	Silent   bool                 `json:"silent,omitempty"`
	Stats    map[string][]float64 `json:"stats,omitempty"`
}

var fleetCommand = command{
	name: "fleet", summary: "print the workers, and who assigns leases",
	help: `Prints every worker that holds a lease or reports, and how leases are assigned. Where the
table is shared with workers of KCL 3.x, it prints the leader too:

  native     every worker takes its share by itself; workers report nothing
  KCL 3.x    a leader assigns leases. A worker that has not reported for a minute
             is silent: it gets no more leases. The lock of the leader names a duration.
             Others can take the lock when it has not changed for so long

A table can be native because of workers of KCL 1.x or 2.x, or of 3.x before its move or
after a roll-back. Those elect one of all owners of leases, the shard sync leader. It
syncs shards for all of them. For workers of KCL 3.x it also watches when the fleet is
ready for the move. A shard sync leader of another language does neither. Nor does a dead
one whose leases nobody has taken. Workers of this library elect none: each of them does
both by itself.

Only a table in DynamoDB can be one of KCL 3.x.

Examples:
  kclctl leases fleet -table orders
  kclctl leases fleet -table orders -json | jq -r '.workers[] | select(.silent) | .worker'`,
	setup: func(flags *flag.FlagSet) action {
		var src source
		src.register(flags)
		flags.StringVar(&src.coordinatorTable, "coordinator-table", "",
			"`name` of the side table of KCL 3.0 to 3.4 with the leader's lock (default: TABLE-CoordinatorState)")
		flags.StringVar(&src.metricsTable, "worker-metrics-table", "",
			"`name` of the side table with the workers' metrics (default: TABLE-WorkerMetricStats)")
		return func(ctx context.Context, t *terminal.Terminal, args []string) error {
			if err := wholeTable("fleet", args); err != nil {
				return err
			}
			return showFleet(ctx, t, &src)
		}
	},
}

func showFleet(ctx context.Context, t *terminal.Terminal, src *source) error {
	store, listing, err := src.read(ctx, t)
	if err != nil {
		return err
	}
	report := fleetReport{Table: src.name(), Assignment: assignmentNative, Bad: []view.BadRow{}}
	workers := workerReports{}
	for _, l := range listing.Leases {
		if l.ActualOwner() != "" && !l.Finished() {
			w := workers.get(l.ActualOwner())
			w.Leases++
			if l.NativeOwner == l.ActualOwner() {
				w.Library = libraryGo
			}
		}
	}
	if shared, ok := store.(leases.SharedStore); ok {
		if err := report.read(ctx, shared.Fleet(), workers); err != nil {
			return src.explain(err)
		}
		report.electShardSync(listing.Leases, workers)
	}
	report.Workers = []workerReport{} // null is no list in JSON
	for _, id := range slices.Sorted(maps.Keys(workers)) {
		report.Workers = append(report.Workers, *workers[id])
	}
	if src.json {
		return t.JSON(report)
	}
	report.print(t)
	if len(listing.Leases)+len(listing.Bad) == 0 {
		t.Note("note: table %s: %v", src.name(), errEmpty)
	}
	return nil
}

// workerReports holds the reports by the ids of the workers.
type workerReports map[string]*workerReport

// get returns the report of a worker, and adds it if need be.
func (r workerReports) get(id string) *workerReport {
	if r[id] == nil {
		r[id] = &workerReport{Worker: id}
	}
	return r[id]
}

// read adds what only a table of KCL 3.x has: migrations, the leader's lock and reports of workers.
func (r *fleetReport) read(ctx context.Context, fleet leases.FleetStore, workers workerReports) error {
	m, err := fleet.Migrations(ctx)
	if err != nil {
		return err
	}
	r.ClientVersion, r.TableMigration, r.SideTables = stateReportOf(m.ClientVersion), stateReportOf(m.Table), m.SideTables
	lock, err := fleet.Leader(ctx)
	if err != nil {
		return err
	}
	if lock != nil {
		r.Leader = &leaderReport{Owner: lock.Owner, Duration: lock.Duration.String(), Released: lock.Released}
		r.Assignment = assignmentKCL3 // also where the row Migration3.0 is missing
	}
	if m.ClientVersion != nil {
		switch m.ClientVersion.Status {
		case leases.ClientVersion3x, leases.ClientVersion3xRollback:
			r.Assignment = assignmentKCL3
		default:
			r.Assignment = assignmentNative
		}
	}
	reports, bad, err := fleet.Workers(ctx)
	if err != nil {
		return err
	}
	for _, e := range bad {
		r.Bad = append(r.Bad, view.BadOf(e))
	}
	for _, m := range reports {
		w := workers.get(m.Worker)
		if !w.Reported.IsZero() && !m.Updated.After(w.Reported) {
			continue // an older report of the same worker, from the other table
		}
		w.Reported, w.Stats = m.Updated.UTC(), m.Stats
		w.Silent = time.Since(m.Updated) > silentAfter
		w.Library = libraryJava
		if m.Native {
			w.Library = libraryGo
		}
	}
	return nil
}

// electShardSync finds the worker that workers of KCL 2.x, or of 3.x in its 2.x modes, leave shard
// sync to. A fleet of this library alone has none.
func (r *fleetReport) electShardSync(rows []leases.Lease, workers workerReports) {
	if r.Assignment != assignmentNative {
		return
	}
	native := map[string]bool{"": true}
	for _, l := range rows {
		native[l.NativeOwner] = true
	}
	for id, w := range workers {
		native[id] = native[id] || w.Library == libraryGo
	}
	alone := !slices.ContainsFunc(rows, func(l leases.Lease) bool { return !native[l.ActualOwner()] })
	if alone && r.ClientVersion == nil {
		return
	}
	if r.ShardSync = shardsync.KCL2SyncLeader(rows); r.ShardSync != "" {
		workers.get(r.ShardSync) // a worker with finished leases only has no report yet
	}
}

func stateReportOf(s *leases.MigrationState) *stateReport {
	if s == nil {
		return nil
	}
	return &stateReport{Status: s.Status, By: s.By, At: s.At.UTC()}
}

func (r *fleetReport) print(t *terminal.Terminal) {
	t.Line("assignment: %s", r.Assignment)
	printState(t, "client version", r.ClientVersion)
	printState(t, "table migration", r.TableMigration)
	switch {
	case r.Leader == nil:
	case r.Leader.Released:
		t.Line("leader: none, the lock was released")
	default:
		t.Line("leader: %s, until %s pass without a renewal", r.Leader.Owner, r.Leader.Duration)
	}
	if r.ShardSync != "" {
		t.Line("shard sync leader: %s", r.ShardSync)
	}
	cells := [][]string{{"WORKER", "LEASES", "LIBRARY", "REPORTED", "CPU"}}
	for _, w := range r.Workers {
		reported := "-"
		if !w.Reported.IsZero() {
			reported = w.Reported.Format(time.RFC3339)
			if w.Silent {
				reported += " (silent)"
			}
		}
		cells = append(cells, []string{w.Worker, strconv.Itoa(w.Leases), cmp.Or(w.Library, "-"), reported, cpu(w.Stats)})
	}
	for _, b := range r.Bad {
		cells = append(cells, []string{b.Name(), b.State, b.Reason})
	}
	t.Table(cells)
	t.Line("%s", view.Plural(len(r.Workers), "worker"))
}

func printState(t *terminal.Terminal, name string, s *stateReport) {
	if s == nil {
		return
	}
	parts := []string{s.Status}
	if !s.At.IsZero() {
		parts = append(parts, "since "+s.At.Format(time.RFC3339))
	}
	if s.By != "" {
		parts = append(parts, "by "+s.By)
	}
	t.Line("%s: %s", name, strings.Join(parts, " "))
}

// cpu is the last sample of a worker's CPU.
func cpu(stats map[string][]float64) string {
	samples := stats["C"]
	switch {
	case len(samples) == 0:
		return "-"
	case samples[len(samples)-1] < 0:
		return "failed"
	}
	return strconv.FormatFloat(samples[len(samples)-1], 'f', 0, 64) + "%"
}
