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

	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// reportsEvery is how often a worker of KCL 3.x reports, and twice of it is
// after how long the leader takes it for dead.
const reportsEvery = 30 * time.Second

// What is said of a fleet and of a worker.
const (
	assignmentNative = "native"
	assignmentKCL3   = "KCL 3.x"
	libraryGo        = "kcl (Go)"
)

// fleetReport is what fleet prints, in JSON.
type fleetReport struct {
	Table          string         `json:"table"`
	Assignment     string         `json:"assignment"`
	ClientVersion  *stateReport   `json:"clientVersion,omitempty"`
	TableMigration *stateReport   `json:"tableMigration,omitempty"`
	SideTables     bool           `json:"sideTables"`
	Leader         *leaderReport  `json:"leader,omitempty"`
	ShardSync      string         `json:"shardSyncLeader,omitempty"` // where workers of KCL 2.x elect one
	Workers        []workerReport `json:"workers"`
	Bad            []badRow       `json:"bad"`
}

type stateReport struct {
	Status string     `json:"status"`
	By     string     `json:"by"`
	At     *time.Time `json:"at,omitempty"`
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
	Reported *time.Time           `json:"reported,omitempty"`
	Silent   bool                 `json:"silent,omitempty"`
	Stats    map[string][]float64 `json:"stats,omitempty"`
}

var fleetCommand = command{
	name: "fleet", summary: "print the workers, and who assigns leases",
	help: `Prints every worker that holds a lease or reports, how leases are assigned, and
who the leader is, where the table is shared with workers of KCL 3.x:

  native     every worker takes its share by itself; workers report nothing
  KCL 3.x    a leader assigns leases. A worker that has not reported for a minute
             is silent: it gets no more leases. The leader's lock can be taken over
             when it has not changed for the duration that stands in it

Where a table is native because of workers of KCL 1.x or 2.x, or of 3.x before its
move or after a roll-back, those leave shard sync to one of all owners of leases, and
of KCL 3.x also to watch when the fleet is ready for the move: the shard sync leader.
If it is a worker of another language, or a dead one whose leases nobody has taken,
theirs is not done. Workers of this library elect none: each does both by itself.

Only a table in DynamoDB can be one of KCL 3.x.

Examples:
  kclctl leases fleet -table orders
  kclctl leases fleet -table orders -json | jq -r '.workers[] | select(.silent) | .worker'`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var src source
		src.register(flags)
		flags.StringVar(&src.coordinatorTable, "coordinator-table", "", "`name` of the side table of KCL 3.0 to 3.4 with the leader's lock, if it is not that of the table with -CoordinatorState")
		flags.StringVar(&src.metricsTable, "worker-metrics-table", "", "`name` of the one with the workers' metrics, if it is not that of the table with -WorkerMetricStats")
		return func(ctx context.Context, t *terminal, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q", args[0])
			}
			return showFleet(ctx, t, &src)
		}
	},
}

func showFleet(ctx context.Context, t *terminal, src *source) error {
	store, listing, err := src.read(ctx, t)
	if err != nil {
		return err
	}
	report := fleetReport{Table: src.name(), Assignment: assignmentNative, Bad: []badRow{}}
	workers := map[string]*workerReport{}
	worker := func(id string) *workerReport {
		if workers[id] == nil {
			workers[id] = &workerReport{Worker: id}
		}
		return workers[id]
	}
	for _, l := range listing.Leases {
		if l.ActualOwner() != "" && !l.Finished() {
			w := worker(l.ActualOwner())
			w.Leases++
			if l.NativeOwner == l.ActualOwner() {
				w.Library = libraryGo
			}
		}
	}
	if shared, ok := store.(leases.SharedStore); ok {
		if err := report.read(ctx, shared.Fleet(), worker); err != nil {
			return src.explain(err)
		}
		report.electShardSync(listing.Leases, workers)
	}
	for _, id := range slices.Sorted(maps.Keys(workers)) {
		report.Workers = append(report.Workers, *workers[id])
	}
	if src.json {
		report.Workers = slices.Concat([]workerReport{}, report.Workers) // never null
		return t.json(report)
	}
	report.print(t)
	if len(listing.Leases)+len(listing.Bad) == 0 {
		t.note("note: table %s: %v", src.name(), errEmpty)
	}
	return nil
}

// read adds what only a table of KCL 3.x has.
func (r *fleetReport) read(ctx context.Context, fleet leases.FleetStore, worker func(id string) *workerReport) error {
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
		r.Assignment = assignmentKCL3 // also where Migration3.0 says nothing
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
		r.Bad = append(r.Bad, badOf(e))
	}
	for _, m := range reports {
		w := worker(m.Worker)
		if w.Reported != nil && !m.Updated.After(*w.Reported) {
			continue // of the same worker, in the other table
		}
		w.Reported, w.Stats = timeOrNil(m.Updated), m.Stats
		w.Silent = time.Since(m.Updated) > 2*reportsEvery
		w.Library = "KCL (Java)"
		if m.Native {
			w.Library = libraryGo
		}
	}
	return nil
}

// electShardSync finds the worker that those of the KCL's 2.x modes leave shard
// sync to; nobody in a fleet of this library alone.
func (r *fleetReport) electShardSync(rows []leases.Lease, workers map[string]*workerReport) {
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
	r.ShardSync = shardsync.KCL2SyncLeader(rows)
	if r.ShardSync != "" && workers[r.ShardSync] == nil { // has finished leases only
		workers[r.ShardSync] = &workerReport{Worker: r.ShardSync}
	}
}

func stateReportOf(s *leases.MigrationState) *stateReport {
	if s == nil {
		return nil
	}
	return &stateReport{Status: s.Status, By: s.By, At: timeOrNil(s.At)}
}

func (r *fleetReport) print(t *terminal) {
	t.line("assignment: %s", r.Assignment)
	printState(t, "client version", r.ClientVersion)
	printState(t, "table migration", r.TableMigration)
	switch {
	case r.Leader == nil:
	case r.Leader.Released:
		t.line("leader: none, the lock was released")
	default:
		t.line("leader: %s, for %s without a sign of life", r.Leader.Owner, r.Leader.Duration)
	}
	if r.ShardSync != "" {
		t.line("shard sync leader: %s", r.ShardSync)
	}
	cells := [][]string{{"WORKER", "LEASES", "LIBRARY", "REPORTED", "CPU"}}
	for _, w := range r.Workers {
		reported := "-"
		if w.Reported != nil {
			reported = w.Reported.Format(time.RFC3339)
			if w.Silent {
				reported += " (silent)"
			}
		}
		cells = append(cells, []string{w.Worker, strconv.Itoa(w.Leases), cmp.Or(w.Library, "-"), reported, cpu(w.Stats)})
	}
	for _, b := range r.Bad {
		cells = append(cells, []string{cmp.Or(b.Key, "(no key)"), stateBad, b.Reason})
	}
	t.table(cells)
	t.line("%s", plural(len(r.Workers), "worker"))
}

func printState(t *terminal, what string, s *stateReport) {
	if s == nil {
		return
	}
	parts := []string{s.Status}
	if s.At != nil {
		parts = append(parts, "since "+s.At.Format(time.RFC3339))
	}
	if s.By != "" {
		parts = append(parts, "by "+s.By)
	}
	t.line("%s: %s", what, strings.Join(parts, " "))
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
