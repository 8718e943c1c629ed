package leases

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
)

func markedStream(t *testing.T, arn string) kcl.StreamIdentifier {
	t.Helper()
	id, err := kcl.ParseStreamARN(arn)
	require.NoError(t, err)
	id.CreationEpoch = 1_700_000_000
	return id
}

func TestForeignMarks(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
	id := markedStream(t, arn)
	single, multi := MarksOf("billing", id, false), MarksOf("billing", id, true)
	bills := "123456789012:bills:1700000000"
	bill := "arn:aws:kinesis:us-east-1:123456789012:stream/bills"
	const east, west = "arn:aws:kinesis:us-east-1", "arn:aws:kinesis:eu-west-1"
	for name, c := range map[string]struct {
		marks Marks
		row   Lease
		want  []string // parts of the error; none: the row is not foreign
	}{
		"no marks":              {single, Lease{}, nil},
		"own":                   {single, Lease{Application: "billing", StreamARN: arn}, nil},
		"application not known": {Marks{StreamARN: arn}, Lease{Application: "reports", StreamARN: arn}, nil},
		"stream not known":      {Marks{Application: "billing"}, Lease{Application: "billing", StreamARN: arn}, nil},
		"another application": {
			single,
			Lease{Application: "reports", StreamARN: arn},
			[]string{"application reports", "application billing", "-application billing", "Config.Table"},
		},
		"another stream": {
			single,
			Lease{StreamARN: bill},
			[]string{"stream/bills", "reads " + arn, "-application billing -stream ARN"},
		},
		"own of several": {multi, Lease{Stream: multi.Stream, Application: "billing", StreamARN: east}, nil},
		"another region": {
			multi, Lease{Stream: multi.Stream, Application: "billing", StreamARN: west}, []string{"eu-west-1", "us-east-1"},
		},
		"another stream's region": {multi, Lease{Stream: bills, Application: "billing", StreamARN: west}, nil},
		"another stream, application": {
			multi, Lease{Stream: bills, Application: "reports", StreamARN: west}, []string{"reports"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.marks.Check(c.row)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrForeignTable)
			for _, part := range c.want {
				require.ErrorContains(t, err, part)
			}
		})
	}
}

// Complete only adds marks. A mark that the row has is kept.
func TestMarksComplete(t *testing.T) {
	t.Parallel()
	m := Marks{Application: "billing", StreamARN: "arn:aws:kinesis:us-east-1"}
	l, set := m.Complete(Lease{Application: "reports"})
	require.Equal(t, Lease{Application: "reports", StreamARN: m.StreamARN}, l)
	require.Equal(t, AttrStreamARN, set)
	_, set = m.Complete(Lease{Application: "billing", StreamARN: m.StreamARN})
	require.Zero(t, set)
	_, set = Marks{}.Complete(Lease{})
	require.Zero(t, set)
}
