package shardsync

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/transcript"
	"github.com/kinesis-go/kcl/leases"
)

// TestTranscripts plays the scenes of testdata. Each file shows one departure from the KCL, and its
// head says what the KCL does and what this library does. The folder says which decision is asked.
//
// KEYS are sixteenths of the hash keys: "0..8" is the lower half. A lease takes parents and hash
// keys from its shard, unless its own row says them. Times are those of one day.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	for folder, play := range map[string]func(*testing.T, string) []string{
		"audit":   playAudit,
		"cleanup": playCleanup,
		"former":  playFormer,
		"holes":   playHoles,
		"leader":  playLeader,
		"starts":  playStarts,
		"sync":    playSync,
	} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			transcript.Run(t, folder, play)
		})
	}
}

// playSync asks [Plan] for the rows that are missing, and [Generations] for their order.
func playSync(t *testing.T, input string) []string {
	s := parseScene(t, input, nil)
	var lines []string
	for i, generation := range Generations(Plan(s.shards, s.rows, s.initial, s.opt), s.shards) {
		for _, l := range generation {
			line := fmt.Sprintf("%s: made at %s in step %d", l.Key, l.Checkpoint.SequenceNumber, i+1)
			if !l.PinnedAt.IsZero() {
				line += ", pinned to " + clockText(l.PinnedAt)
			}
			lines = append(lines, line)
		}
	}
	return orNothing(lines, "nothing is made")
}

// playStarts asks [PlanStarts] what to write into the rows.
func playStarts(t *testing.T, input string) []string {
	s := parseScene(t, input, nil)
	var lines []string
	for _, u := range PlanStarts(s.rows, s.initial, s.opt) {
		var texts []string
		if u.Set&leases.AttrPinnedAt != 0 {
			texts = append(texts, "pinned to "+clockText(u.To.PinnedAt))
		}
		if u.Set&leases.AttrOrigin != 0 {
			texts = append(texts, "the application began at "+originText(u.To.Origin))
		}
		lines = append(lines, u.Read.Key+": "+strings.Join(texts, ", "))
	}
	return orNothing(lines, "nothing is written")
}

// playCleanup shows [PlanCleanup] a survey each minute, or those of the table AT: UNLISTED shards
// are missing in the list of the survey, and somebody has written to the WRITTEN leases before it.
func playCleanup(t *testing.T, input string) []string {
	s := parseScene(t, input, transcript.Format{"AT": {"UNLISTED", "WRITTEN"}})
	surveys := s.Tables["AT"]
	if surveys == nil {
		for i := range 16 {
			surveys = append(surveys, transcript.Row{"AT": fmt.Sprintf("%dm", i)})
		}
	}
	begin := clock(t, "12:00")
	var past CleanupHistory
	var plan []Removal
	var lines []string
	last := 0
	for _, survey := range surveys {
		at := begin.Add(duration(t, survey["AT"]))
		list := slices.DeleteFunc(slices.Clone(s.shards),
			func(shard kcl.Shard) bool { return slices.Contains(words(survey["UNLISTED"]), shard.ID) })
		for i := range s.rows {
			if slices.Contains(words(survey["WRITTEN"]), s.rows[i].Key) {
				s.rows[i].Counter++
			}
		}
		seen := Survey{At: at, ListedAt: at, Shards: list, Rows: s.rows, Initial: s.initial, Options: s.opt}
		plan, past = PlanCleanup(seen, past)
		for _, r := range plan[min(last, len(plan)):] {
			lines = append(lines, survey["AT"]+": "+removalText(r))
		}
		last = len(plan)
	}
	return orNothing(lines, "nothing is deleted")
}

func removalText(r Removal) string {
	if r.Gone {
		return fmt.Sprintf("delete %s if a direct read does not find the shard either", r.Lease.Key)
	}
	return fmt.Sprintf("delete %s (children read from: %s)", r.Lease.Key, strings.Join(r.Children, ", "))
}

// playAudit asks [Audit] for holes, and [PlanRepair] for the rows that fill them.
func playAudit(t *testing.T, input string) []string {
	s := parseScene(t, input, nil)
	c := Audit(s.rows, s.shards)
	var lines []string
	for _, h := range c.Holes {
		lines = append(lines, "hole "+keysText(t, h.HashKeyRange))
	}
	for _, l := range PlanRepair(c.Holes, s.rows, s.shards, s.opt) {
		lines = append(lines, fmt.Sprintf("repair: make %s at %s", l.Key, l.Checkpoint.SequenceNumber))
	}
	lines = orNothing(lines, "no hole")
	for _, pair := range c.Overlaps {
		lines = append(lines, fmt.Sprintf("%s and %s overlap", pair[0], pair[1]))
	}
	for _, key := range c.Unknown {
		lines = append(lines, "nobody knows the hash keys of "+key+", so holes do not count")
	}
	return lines
}

// playHoles shows a [HoleWatch] each audit of a stream.
func playHoles(t *testing.T, input string) []string {
	s := transcript.Parse(t, input, transcript.Format{"AT": {"HOLES"}})
	begin := clock(t, "12:00")
	var w HoleWatch
	var lines []string
	for _, row := range s.Tables["AT"] {
		var c Coverage
		for _, keys := range words(row["HOLES"]) {
			c.Holes = append(c.Holes, Hole{HashKeyRange: keysOfCell(t, keys)})
		}
		confirmed, repair := w.Observe(begin.Add(duration(t, row["AT"])), c)
		var texts []string
		for _, h := range confirmed {
			texts = append(texts, keysText(t, h.HashKeyRange))
		}
		line := "nothing is confirmed"
		if len(texts) > 0 {
			line = "confirmed " + strings.Join(texts, " and ")
		}
		if repair {
			line += ", sync the shards"
		}
		lines = append(lines, row["AT"]+": "+line)
	}
	return lines
}

// playFormer shows a [FormerWatch] the counters of the leases of streams that this worker does not
// read. A lease is written stream/shard.
func playFormer(t *testing.T, input string) []string {
	s := transcript.Parse(t, input, transcript.Format{"": {"wait"}, "LEASE": {"PARENT"}, "AT": {"COUNTERS"}})
	parents := map[string][]string{}
	for _, row := range s.Tables["LEASE"] {
		parents[row["LEASE"]] = words(row["PARENT"])
	}
	begin := clock(t, "12:00")
	var w FormerWatch
	var lines []string
	for _, row := range s.Tables["AT"] {
		var rows []leases.Lease
		for _, word := range words(row["COUNTERS"]) {
			key, counter, _ := strings.Cut(word, "=")
			require.Contains(t, parents, key)
			stream, shard, _ := strings.Cut(key, "/")
			n, err := strconv.ParseInt(counter, 10, 64)
			require.NoError(t, err)
			rows = append(rows, formerRow(stream, shard, n, parents[key]...))
		}
		var texts []string
		for _, group := range keysOf(w.Observe(begin.Add(duration(t, row["AT"])), rows, duration(t, s.Settings["wait"]))) {
			texts = append(texts, "delete "+strings.ReplaceAll(strings.Join(group, ", then "), ":", "/"))
		}
		lines = append(lines, row["AT"]+": "+strings.Join(orNothing(texts, "delete nothing"), "; "))
	}
	return lines
}

// playLeader asks [KCL2SyncLeader] whom workers of KCL 2.x agree upon.
func playLeader(t *testing.T, input string) []string {
	if leader := KCL2SyncLeader(parseScene(t, input, nil).rows); leader != "" {
		return []string{leader + " syncs the shards"}
	}
	return []string{"all of them sync the shards"}
}

// orNothing gives an empty decision a line.
func orNothing(lines []string, nothing string) []string {
	if len(lines) == 0 {
		return []string{nothing}
	}
	return lines
}
