package kcl3

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/transcript"
	"github.com/kinesis-go/kcl/leases"
)

// TestTranscripts plays the scenes of testdata. Each file shows one departure from the KCL, and its
// head says what the KCL does and what this library does. The folder says which decision is asked.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	for folder, play := range map[string]func(*testing.T, string) []string{
		"assign":   playAssign,
		"cadence":  playCadence,
		"handover": playHandover,
		"lock":     playLock,
		"neglect":  playNeglect,
		"ready":    playReady,
		"silence":  playSilence,
		"table":    playTable,
	} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			transcript.Run(t, folder, play)
		})
	}
}

// playAssign asks [Assign] with the settings of a leader. CPU lists the samples in percent; one
// number stands for five equal samples. "a>b" is an owner a that hands over to b. DEVIATION is that
// of KB/S.
func playAssign(t *testing.T, input string) []string {
	s := transcript.Parse(t, input, transcript.Format{
		"":       {"balance", "by", "max leases", "max KB/s"},
		"WORKER": {"CPU", "LIMIT"},
		"LEASE":  {"OWNER", "KB/S", "DEVIATION", "PARENT", "STATE"},
	})
	v := View{
		Balance: s.Settings["balance"] != "no", Config: DefaultConfig(), Throughputs: map[string]float64{},
		Variances: map[string]float64{},
	}
	v.Config.Certain, v.Config.ByCount = true, s.Settings["by"] == "count"
	v.Config.MaxLeases, v.Config.MaxThroughput = int(numeric(t, s.Settings["max leases"])),
		numeric(t, s.Settings["max KB/s"])
	for _, w := range s.Tables["WORKER"] {
		m := leases.WorkerMetrics{Worker: w["WORKER"], Updated: wall}
		if w["CPU"] != "" {
			m.Stats, m.Range = map[string][]float64{CPUMetric: samples(t, w["CPU"])},
				map[string][]float64{CPUMetric: {numeric(t, w["LIMIT"])}}
		}
		v.Workers = append(v.Workers, m)
	}
	for _, row := range s.Tables["LEASE"] {
		r := leaseRow(t, row)
		if row["DEVIATION"] != "" {
			deviation := numeric(t, row["DEVIATION"])
			v.Throughputs[r.Key], v.Variances[r.Key] = r.ThroughputKBps, deviation*deviation
		}
		v.Leases = append(v.Leases, r)
	}
	moves, spillover := Assign(v)
	var lines []string
	for _, m := range moves {
		line := fmt.Sprintf("%s: assigned to %s (%s)", m.Lease.Key, m.To, m.Reason)
		if m.Graceful {
			line = fmt.Sprintf("%s: %s hands over to %s (%s)", m.Lease.Key, m.Lease.Owner, m.To, m.Reason)
		}
		lines = append(lines, line)
	}
	switch {
	case spillover > 0:
		return append(lines, fmt.Sprintf("leases without a place: %d", spillover))
	case len(lines) == 0:
		return []string{"nothing moves"}
	}
	return lines
}

// playCadence asks [Cadence] at each assignment of a new leader.
func playCadence(t *testing.T, input string) []string {
	s := transcript.Parse(t, input, transcript.Format{"": {"expiry"}, "AT": {}})
	var c Cadence
	var lines []string
	for _, row := range s.Tables["AT"] {
		line := "assigns what nobody reads"
		if c.MayBalance(duration(t, row["AT"]), duration(t, s.Settings["expiry"])) {
			line += ", and balances"
		}
		lines = append(lines, row["AT"]+": "+line)
	}
	return lines
}

// playHandover asks a [HandoverWatch] about one lease. LIMIT is that of the owner that hands over.
func playHandover(t *testing.T, input string) []string {
	s := transcript.Parse(t, input, transcript.Format{"AT": {"OWNER", "LIMIT"}})
	var w HandoverWatch
	var lines []string
	for _, row := range s.Tables["AT"] {
		r := leaseRow(t, transcript.Row{"LEASE": "0", "OWNER": row["OWNER"]})
		w.Observe(duration(t, row["AT"]), []leases.Lease{r.Lease})
		line := "the leader waits"
		switch {
		case r.CheckpointOwner == "":
			line = "done"
		case w.Overdue(duration(t, row["AT"]), func(string) time.Duration { return duration(t, row["LIMIT"]) })["0"]:
			line = "overdue, the leader assigns it"
		}
		lines = append(lines, row["AT"]+": "+line)
	}
	return lines
}

// playLock shows a [LockWatch] what each attempt reads of the leader's lock.
func playLock(t *testing.T, input string) []string {
	s := transcript.Parse(t, input, transcript.Format{"AT": {"OWNER", "HEARTBEAT", "DURATION"}})
	var w LockWatch
	var lines []string
	for _, row := range s.Tables["AT"] {
		var lock *leases.LeaderLock
		if row["OWNER"] != "" {
			lock = &leases.LeaderLock{Owner: row["OWNER"], Version: row["HEARTBEAT"]}
			if row["DURATION"] != "" {
				lock.Duration = duration(t, row["DURATION"])
			}
		}
		at := duration(t, row["AT"])
		w.Observe(lock, at)
		line := fmt.Sprintf("held, the next look is in %v", w.Wait(at))
		if w.Free(at) {
			line = "free, this worker tries to acquire it"
		}
		lines = append(lines, row["AT"]+": "+line)
	}
	return lines
}

// playNeglect shows [Neglect] each scan of one lease.
func playNeglect(t *testing.T, input string) []string {
	s := transcript.Parse(t, input, transcript.Format{"": {"failover"}, "AT": {"OWNER", "COUNTER", "STATE"}})
	failover := duration(t, s.Settings["failover"])
	var n NeglectWatch
	var lines []string
	for _, row := range s.Tables["AT"] {
		r := leaseRow(t, transcript.Row{"LEASE": "0", "OWNER": row["OWNER"], "STATE": row["STATE"]})
		r.Counter = int64(numeric(t, row["COUNTER"]))
		line := "left to the leader"
		if n.Observe(duration(t, row["AT"]), []Row{r}, failover, failover*105/100)["0"] {
			line = "neglected, any worker takes it"
		}
		lines = append(lines, row["AT"]+": "+line)
	}
	return lines
}

// playReady shows a [ReadyWatch] the same leases at each look, and the workers that report.
func playReady(t *testing.T, input string) []string {
	s := transcript.Parse(t, input, transcript.Format{"LEASE": {"OWNER", "STATE"}, "AT": {"INDEX", "REPORTING"}})
	var rows []leases.Lease
	for _, row := range s.Tables["LEASE"] {
		rows = append(rows, leaseRow(t, row).Lease)
	}
	var w ReadyWatch
	var lines []string
	for _, row := range s.Tables["AT"] {
		alive := map[string]bool{}
		for _, worker := range words(row["REPORTING"]) {
			alive[worker] = true
		}
		line := "not ready"
		if w.Observe(duration(t, row["AT"]), row["INDEX"] == "active", rows, alive) {
			line = "ready for KCL 3.x"
		}
		lines = append(lines, row["AT"]+": "+line)
	}
	return lines
}

// playSilence asks a [WorkerWatch] about one worker. The leader's clock says 12:00:00 at its first
// look. REPORTED is the time in the worker's report.
func playSilence(t *testing.T, input string) []string {
	s := transcript.Parse(t, input, transcript.Format{"": {"library"}, "AT": {"REPORTED"}})
	noon := clock(t, "12:00:00")
	var w WorkerWatch
	var lines []string
	for _, row := range s.Tables["AT"] {
		m := leases.WorkerMetrics{Worker: "w", Updated: clock(t, row["REPORTED"]), Native: s.Settings["library"] == "ours"}
		at := duration(t, row["AT"])
		line := "counts for nothing"
		if w.Alive(noon.Add(at), at, []leases.WorkerMetrics{m})["w"] {
			line = "lives"
		}
		lines = append(lines, row["AT"]+": "+line)
	}
	return lines
}

// playTable asks [NextTable] for the leader's step in the migration to a single table. All workers
// live and support it. REPORTS says which table has the report of a worker.
func playTable(t *testing.T, input string) []string {
	s := transcript.Parse(t, input, transcript.Format{
		"": {"stored", "age", "asked to migrate"}, "WORKER": {"REPORTS"},
		"LEASE": {"OWNER"},
	})
	v := TableView{
		SideTables: true, Migrate: s.Settings["asked to migrate"] == "yes", Alive: map[string]bool{},
		Me: "me", Now: wall,
	}
	v.Stored = stateOf("TABLE_MIGRATION_STATUS_"+s.Settings["stored"], duration(t, s.Settings["age"]))
	for _, w := range s.Tables["WORKER"] {
		v.Workers = append(v.Workers, leases.WorkerMetrics{
			Worker: w["WORKER"], Updated: wall, Support: 1,
			SupportUpdated: wall, InSideTable: w["REPORTS"] == "side",
		})
		v.Alive[w["WORKER"]] = true
	}
	for _, row := range s.Tables["LEASE"] {
		v.Leases = append(v.Leases, leaseRow(t, row).Lease)
	}
	step, ok := NextTable(v)
	if !ok {
		return []string{"nothing is written"}
	}
	return []string{"write " + strings.TrimPrefix(step.To.Status, "TABLE_MIGRATION_STATUS_")}
}

// leaseRow makes the row of one lease. Its STATE has the words expired, overdue and finished.
func leaseRow(t *testing.T, cells transcript.Row) Row {
	r := Row{Since: time.Second}
	r.Key, r.ShardID, r.ThroughputKBps = cells["LEASE"], cells["LEASE"], -1
	r.Checkpoint.SequenceNumber = "17"
	r.Parents = words(cells["PARENT"])
	r.Owner = cells["OWNER"]
	if from, to, isHandedOver := strings.Cut(cells["OWNER"], ">"); isHandedOver {
		r.Owner, r.CheckpointOwner = to, from
	}
	if cells["KB/S"] != "" {
		r.ThroughputKBps = numeric(t, cells["KB/S"])
	}
	for _, word := range words(cells["STATE"]) {
		switch word {
		case "expired":
			r.Expired = true
		case "overdue":
			r.Overdue = true
		case "finished":
			r.Checkpoint.SequenceNumber = "SHARD_END"
		default:
			require.Fail(t, "unknown state", word)
		}
	}
	return r
}

func words(cell string) []string {
	return strings.FieldsFunc(cell, func(r rune) bool { return r == ',' })
}

func samples(t *testing.T, cell string) []float64 {
	var list []float64
	for _, s := range words(cell) {
		list = append(list, numeric(t, s))
	}
	if len(list) == 1 {
		return slices.Repeat(list, 5)
	}
	return list
}

// numeric is 0 for an empty cell.
func numeric(t *testing.T, cell string) float64 {
	if cell == "" {
		return 0
	}
	f, err := strconv.ParseFloat(cell, 64)
	require.NoError(t, err)
	return f
}

func duration(t *testing.T, cell string) time.Duration {
	d, err := time.ParseDuration(cell)
	require.NoError(t, err)
	return d
}

func clock(t *testing.T, cell string) time.Time {
	at, err := time.Parse(time.TimeOnly, cell)
	require.NoError(t, err)
	return at
}
