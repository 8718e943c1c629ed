package kcl3

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// fleetOf parses "w yield 90/80" (a worker that reports a CPU of 90 % twice, of
// which it wants 80 %), "w plain" (no sensor), and leases: "1 yield 10"
// (throughput, - for unknown), "2 -" (nobody's), "3 take<yield 10" (handed over
// to take), with a word more: expired, overdue, end, or parents in parentheses.
func fleetOf(t *testing.T, lines ...string) View {
	v := View{Balance: true, Config: DefaultConfig()}
	v.Config.threshold, v.Config.Dampening = 0.2, 0.8
	for _, line := range lines {
		w := strings.Fields(line)
		if w[0] == "w" {
			m := leases.WorkerMetrics{Worker: w[1], Updated: time.Unix(1_700_000_000, 0)}
			if len(w) == 3 {
				v, limit, _ := strings.Cut(w[2], "/")
				var samples []float64
				for s := range strings.SplitSeq(v, ",") {
					samples = append(samples, number(t, s))
				}
				m.Stats, m.Range = map[string][]float64{"C": samples}, map[string][]float64{"C": {number(t, limit)}}
			}
			v.Workers = append(v.Workers, m)
			continue
		}
		l := Row{Since: sec}
		l.Key, l.ShardID, l.ThroughputKBps = w[0], w[0], -1
		l.Checkpoint.SequenceNumber = "17"
		if w[1] != "-" {
			l.Owner, l.CheckpointOwner, _ = strings.Cut(w[1], "<")
		}
		for _, word := range w[2:] {
			switch {
			case word == "expired":
				l.Expired = true
			case word == "overdue":
				l.Overdue = true
			case word == "end":
				l.Checkpoint.SequenceNumber = kcl.SentinelShardEnd
			case word[0] == '(':
				l.Parents = strings.Split(strings.Trim(word, "()"), ",")
			case strings.HasPrefix(word, "since"):
				l.Since = time.Duration(number(t, word[5:])) * sec
			case word != "-":
				l.ThroughputKBps = number(t, word)
			}
		}
		v.Leases = append(v.Leases, l)
	}
	return v
}

func number(t *testing.T, s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	require.NoError(t, err)
	return f
}

// told writes moves as "1>take 2>>take": two signs for a graceful hand-over.
func told(moves []Move) string {
	var words []string
	for _, m := range moves {
		sign := ">"
		if m.Graceful {
			sign = ">>"
		}
		words = append(words, m.Lease.Key+sign+m.To)
	}
	return strings.Join(words, " ")
}

// many makes n lines for leases.
func many(n int, format string) []string {
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf(format, i))
	}
	return lines
}

// TestAssignVectors are those of the KCL's LeaseAssignmentManagerTest: a
// threshold of 20 % (10 where it says so), dampened to 80 %.
func TestAssignVectors(t *testing.T) {
	t.Parallel()
	const yield, take = "w yield 90,90/80", "w take 50,50/80"
	ten := func(v *View) { v.Config.threshold = 0.1 }
	tests := []struct {
		name  string
		fleet []string
		set   func(*View)
		want  string
		spill int
	}{
		{"one lease, one idle worker", []string{yield, take, "1 -"}, nil, "1>take", 0},
		{"sensor failed", []string{"w failed 50,-1/80", "1 - 10", "2 - 10"}, nil, "", 2},
		{"sensor failed earlier", []string{"w w -1,50,50/80", "1 - 10", "2 - 10"}, nil, "1>w 2>w", 0},
		{"no throughput", append([]string{yield, take}, many(10, "%d yield 0")...), nil, "0>>take", 0},
		{"max leases", []string{take, "1 -", "2 -", "3 -"}, func(v *View) { v.Config.MaxLeases = 2 }, "1>take 2>take", 1},
		{
			"free before expired",
			[]string{take, "1 random 10 expired", "2 -"},
			func(v *View) { v.Config.MaxThroughput = 9 }, "2>take", 1,
		},
		{"above the operating range", []string{"w a 41,41/50", "w b 59,59/50", "1 b 1000", "2 b 1"}, nil, "2>>a", 0},
		{
			"throughput is taken",
			[]string{yield, take, "1 yield 100", "2 yield 200", "3 yield 300", "4 yield 400"},
			ten, "1>>take", 0,
		},
		{
			"exact",
			[]string{yield, take, "1 yield 300", "2 yield 299", "3 yield 301", "4 take 3000"},
			func(v *View) { v.Config.threshold, v.Config.exact = 0.1, true }, "", 0,
		},
		{
			"the least lease overshoots",
			[]string{yield, take, "1 yield 300", "2 yield 299", "3 yield 301", "4 take 3000"},
			ten, "2>>take", 0,
		},
		{"two busy workers", []string{
			"w y1 90,90/80", "w y2 90,90/80", take, "1 y1 10", "2 y1 1000", "3 y2 10", "4 y2 1000",
			"5 take 10",
		}, ten, "1>>take 3>>take", 0},
		{
			"hot, but the others are not", append([]string{"w hot 90,90/50", "w take 40,40/80"}, many(6, "%d hot 10")...),
			nil, "0>>take", 0,
		},
		{"the only lease", []string{yield, take, "1 yield 5", "2 take 30"}, nil, "1>>take", 0},
		{
			"free leases and balance", append([]string{yield, take, "y yield 1000", "t -"}, many(7, "%d yield 10")...), ten,
			"t>take 0>>take 1>>take 2>>take", 0,
		},
		{"graceful", []string{yield, take, "1 yield 5", "2 yield 30"}, nil, "1>>take", 0},
		{"handed over already", []string{yield, take, "1 take<yield 5", "2 yield 30"}, nil, "", 0},
		{"handed over for too long", []string{yield, take, "1 take<yield 5 overdue", "2 yield 30"}, nil, "1>take", 0},
		{"a dead worker hands over to a dead one", []string{take, "1 random<another expired"}, nil, "1>take", 0},
		{"a restarted worker hands over to a dead one", []string{"w w 50,50/80", "1 random<w overdue"}, nil, "1>w", 0},
		{
			"default worker, all is well",
			[]string{"w a", "w b 50,50/80", "1 a 100", "2 a 200", "3 b 300", "4 b 400"},
			nil, "", 0,
		},
		{"default worker, both have too much", []string{"w a", "w b 90,90/80", "1 a 10", "2 b 10"}, nil, "", 0},
		// The KCL gives 3 to a: it compares a's throughput with its own, and b's
		// CPU with its own.
		{
			"default worker gets its part",
			[]string{"w a", "w b 50,50/80", "1 - 10", "2 - 10", "3 - 10", "4 b 10"},
			nil,
			"1>a 2>a 3>b", 0,
		},
		{"leases have owners that live", []string{take, "1 take expired 10"}, nil, "", 0},
		{"nobody is there", []string{"1 -", "2 x 10 expired"}, nil, "", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := fleetOf(t, tt.fleet...)
			var w WorkerWatch
			v.Workers = w.Active(time.Unix(1_700_000_000, 0), 0, v.Workers)
			if tt.set != nil {
				tt.set(&v)
			}
			moves, spill := Assign(v)
			require.Equal(t, tt.want, told(moves))
			require.Equal(t, tt.spill, spill)
			for seed := range uint64(20) { // whichever lease is moved, as many are
				v.Rand = rand.New(rand.NewPCG(seed, 0))
				again, _ := Assign(v)
				require.Len(t, again, len(moves))
			}
		})
	}
}

// TestAssignCountVectors are those of LeaseCountBasedLeaseAssignmentDeciderTest.
func TestAssignCountVectors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fleet []string
		max   int
		want  string
		spill int
	}{
		{
			"15 free leases, 10 at most", append(many(15, "%02d -"), "w a"), 10,
			"00>a 01>a 02>a 03>a 04>a 05>a 06>a 07>a 08>a 09>a", 5,
		},
		{"two and none", []string{"w a", "w b", "1 a 10", "2 a 10"}, 0, "1>>b", 0},
		{"one and none", []string{"w a", "w b", "1 a 10"}, 0, "", 0},
		{"two and one", []string{"w a", "w b", "1 a 10", "2 a 1", "3 b 999"}, 0, "", 0},
		{"is being handed over", []string{"w a", "w b", "1 b<a 10", "2 a 10"}, 0, "", 0},
		{"has been handed over for too long", []string{"w a", "w b", "1 b<a 10 overdue", "2 a 10"}, 0, "1>b", 0},
		{"a dead worker gets none", []string{"w a", "1 a 1", "2 a 1", "3 dead 1 expired"}, 0, "3>a", 0},
		{"an unknown worker keeps its own", []string{"w a", "1 x 1", "2 x 1", "3 x 1"}, 0, "", 0},
		// The KCL fills one worker after the other up to the average, rounded up,
		// which leaves c with nothing.
		{"four leases for three workers", []string{"w a", "w b", "w c", "1 -", "2 -", "3 -", "4 -"}, 0, "1>a 2>b 3>c 4>a", 0},
		{"two, two and none", []string{"w a", "w b", "w c", "1 a", "2 a", "3 b", "4 b"}, 0, "1>>c", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := fleetOf(t, tt.fleet...)
			v.Config.ByCount, v.Config.MaxLeases = true, tt.max
			moves, spill := Assign(v)
			require.Equal(t, tt.want, told(moves))
			require.Equal(t, tt.spill, spill)
		})
	}
}
