package plan

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/transcript"
	"github.com/kinesis-go/kcl/leases"
)

// TestPlanTranscripts runs the scenes in testdata/plan. A scene has the worker, one line for each
// lease, a rule of hyphens, and the actions of the worker's plan. The line of a lease has its key,
// its owner or a hyphen, and its judgement. The worker's own leases have a consumer unless they are
// idle.
func TestPlanTranscripts(t *testing.T) {
	t.Parallel()
	transcript.Run(t, "plan", func(t *testing.T, given string) []string {
		var lines []string
		for _, a := range Native(parseView(t, given)) {
			line := fmt.Sprintf("%s %s", a.Verb, a.Row.Key)
			if a.Reason != "" {
				line += " (" + a.Reason + ")"
			}
			lines = append(lines, line)
		}
		return lines
	})
}

func parseView(t *testing.T, text string) View {
	v := View{Asks: -1, Calm: true}
	for line := range strings.SplitSeq(text, "\n") {
		words := strings.Fields(line)
		switch {
		case words[0] == "#":
		case words[0] == "me":
			v.Me = words[1]
			for _, w := range words[2:] {
				switch w {
				case "new":
					v.Asks = 1
					continue
				case "busy":
					v.Calm = false
					continue
				case "by=throughput":
					v.By = leases.BalanceThroughput
					continue
				}
				limit, err := strconv.Atoi(strings.TrimPrefix(w, "max="))
				require.NoError(t, err, line)
				v.Max = limit
			}
		default:
			r := parseRow(t, words)
			if r.Owner == v.Me && r.CheckpointOwner == "" && !strings.Contains(line, "idle") {
				r.Busy = true
			}
			v.Rows = append(v.Rows, r)
		}
	}
	return v
}

func parseRow(t *testing.T, words []string) Row {
	owner := strings.Trim(words[1], "-")
	r := Row{Lease: heldLease(words[0], owner), KBps: -1}
	r.Checkpoint.SequenceNumber = "17"
	for _, w := range words[2:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "from":
			r.CheckpointOwner, r.NativeOwner = value, value
		case "to":
			r.HandoverTo = value
		case "stuck":
			r.Stuck = true
		case "native":
			r.NativeOwner = strings.Trim(value, "-")
		case "end":
			r.Checkpoint.SequenceNumber = "SHARD_END"
		case "expired":
			r.Expired, r.Quiet = true, true
		case "quiet":
			r.Quiet = true
		case "busy":
			r.Busy = true
		case "idle": // no consumer of this worker; see parseView
		case "settling":
			r.Settling = true
		case "kbps":
			kbps, err := strconv.ParseFloat(value, 64)
			require.NoError(t, err)
			r.KBps = kbps
		case "waited":
			n, err := strconv.Atoi(value)
			require.NoError(t, err)
			r.ScansWaited = n
		default:
			require.Fail(t, "unknown word", w)
		}
	}
	return r
}
