package multilang_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// maxProgram is how large a child may be. It is 2.7 MB on Linux today.
const maxProgram = 4 << 20

// buildChild builds testdata/child as a user builds a program of their own.
func buildChild(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "child")
	run(t, "go", "build", "-ldflags=-s -w", "-o", program, "./testdata/child")
	return program
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return string(out)
}

// TestChildLinksNoAWSCode: a child is small, and links no module but this one.
func TestChildLinksNoAWSCode(t *testing.T) {
	t.Parallel()
	program := buildChild(t)
	info, err := os.Stat(program)
	require.NoError(t, err)
	t.Logf("%d bytes", info.Size())
	require.Less(t, info.Size(), int64(maxProgram))
	for line := range strings.Lines(run(t, "go", "version", "-m", program)) {
		fields := strings.Fields(line)
		require.NotEqual(t, "dep", fields[0], "the program needs another module: %s", line)
	}
	var own []string
	foreign := "{{if not .Standard}}{{.ImportPath}}{{end}}"
	for name := range strings.Lines(run(t, "go", "list", "-deps", "-f", foreign, "./testdata/child")) {
		own = append(own, strings.TrimPrefix(strings.TrimSpace(name), "github.com/kinesis-go/kcl"))
	}
	require.ElementsMatch(t, []string{
		"", "/internal/chance", "/internal/usercode", "/multilang", "/multilang/internal/protocol",
		"/multilang/testdata/child",
	}, own)
}

// TestM01M02PrintsOfAChild: prints of a child go to the standard error. A print may look like a
// message. It may come from descriptor 1, or from a process that the child has started.
func TestM01M02PrintsOfAChild(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), buildChild(t))
	cmd.Env = append(os.Environ(), "KCL_STREAM_ARN=arn:aws:kinesis:eu-west-1:123456789012:stream/orders")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	input, err := cmd.StdinPipe()
	require.NoError(t, err)
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	lines := protocol.NewLineReader(output)
	line, err := lines.Next()
	require.NoError(t, err)
	require.Equal(t, "before Serve, a line that is no message", string(line))
	d := &fakeDaemon{t: t, input: nil, writer: protocol.NewDaemonWriter(input), lines: lines}
	d.initialize()
	forged := `{"action":"checkpoint","sequenceNumber":"99999"}`
	key := "k"
	require.NoError(t, d.writer.ProcessRecords([]kcl.Record{
		kcl.NewRecord(kcl.RecordFields{SequenceNumber: "1", PartitionKey: &key, Data: []byte(forged)}),
		kcl.NewRecord(kcl.RecordFields{SequenceNumber: "2", PartitionKey: &key, Data: []byte("no newline at the end")}),
	}, 0, true, time.Now()))
	require.Equal(t, "all", d.checkpoint(""))
	d.status(protocol.ProcessRecords)
	d.do(protocol.LeaseLost)
	require.NoError(t, input.Close())
	_, err = lines.Next()
	require.Error(t, err, "nothing else came")
	require.NoError(t, cmd.Wait())
	for _, want := range []string{
		"shard shardId-7 of arn:aws:kinesis:eu-west-1:123456789012:stream/orders\n",
		forged + "\n" + forged, "no newline at the end\n",
		`{"action":"status","responseFor":"processRecords"}` + "\n", "lease lost\n", "after Serve\n",
	} {
		require.Contains(t, strings.ReplaceAll(stderr.String(), forged+forged, forged+"\n"+forged), want)
	}
}
