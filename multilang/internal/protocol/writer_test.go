package protocol_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// TestDaemonRepeatsTheRecording: what is read from the Java daemon is written again byte for byte.
func TestDaemonRepeatsTheRecording(t *testing.T) {
	t.Parallel()
	seen := map[protocol.Action]int{}
	for _, line := range recorded(t, "to-child") {
		m, err := protocol.ParseFromDaemon([]byte(line))
		require.NoError(t, err, line)
		require.Empty(t, m.Unknown)
		seen[m.Action]++
		var out bytes.Buffer
		w := protocol.NewDaemonWriter(&out)
		switch m.Action {
		case protocol.Initialize:
			require.NoError(t, w.Initialize(m.ShardID, m.Position))
		case protocol.ProcessRecords:
			require.NoError(t, w.ProcessRecords(m.Records, m.Behind, m.BehindKnown, time.Time{}))
		case protocol.Checkpoint:
			require.NoError(t, w.Answer(asked(t, line), m.Error))
		case protocol.LeaseLost, protocol.ShardEnded, protocol.ShutdownRequested:
			require.NoError(t, w.Simple(m.Action))
		}
		require.Equal(t, line, out.String())
	}
	require.Equal(t, map[protocol.Action]int{
		"initialize": 4, "processRecords": 15, "checkpoint": 19, "shardEnded": 1, "shutdownRequested": 3, "leaseLost": 3,
	}, seen)
}

// asked reads the position of an answer, which repeats that of the child's message.
func asked(t *testing.T, line string) protocol.Asked {
	t.Helper()
	var a struct {
		SequenceNumber    *string `json:"sequenceNumber"`
		SubSequenceNumber *int64  `json:"subSequenceNumber"`
	}
	require.NoError(t, json.Unmarshal([]byte(line), &a))
	return protocol.Asked{SequenceNumber: a.SequenceNumber, SubSequenceNumber: a.SubSequenceNumber}
}

// TestChildRepeatsTheRecording: what is read from the Python child is written again byte for byte.
func TestChildRepeatsTheRecording(t *testing.T) {
	t.Parallel()
	lines := recorded(t, "from-child")
	var want, got bytes.Buffer
	w := protocol.NewChildWriter(&got)
	for _, line := range lines {
		want.WriteString(line)
		if line == "\n" {
			continue
		}
		m, err := protocol.ParseFromChild([]byte(line))
		require.NoError(t, err, line)
		if m.Action == protocol.Status {
			require.NoError(t, w.Status(m.ResponseFor))
			continue
		}
		if position, all := m.Asked.Position(); all {
			require.NoError(t, w.Checkpoint(nil, false))
		} else {
			require.NoError(t, w.Checkpoint(&position, m.Asked.SubSequenceNumber != nil))
		}
	}
	// The children wrote at the same time, so the order of their empty lines is not that of ours.
	require.Equal(t, strings.Count(want.String(), "\n"), strings.Count(got.String(), "\n"))
	require.Equal(t, strings.ReplaceAll(want.String(), "\n\n", "\n"), strings.ReplaceAll(got.String(), "\n\n", "\n"))
}

func TestChildMessageIsOneWrite(t *testing.T) {
	t.Parallel()
	var writes []string
	w := protocol.NewChildWriter(writerFunc(func(p []byte) (int, error) {
		writes = append(writes, string(p))
		return len(p), nil
	}))
	require.NoError(t, w.Status(protocol.LeaseLost))
	require.NoError(t, w.Checkpoint(nil, true))
	require.NoError(t, w.Checkpoint(&kcl.ExtendedSequenceNumber{SequenceNumber: "12", SubSequenceNumber: 3}, true))
	require.NoError(t, w.Checkpoint(&kcl.ExtendedSequenceNumber{SequenceNumber: "a\"\n", SubSequenceNumber: 3}, false))
	require.Equal(t, []string{
		"\n{\"action\": \"status\", \"responseFor\": \"leaseLost\"}\n",
		"\n{\"action\": \"checkpoint\", \"sequenceNumber\": null, \"subSequenceNumber\": null}\n",
		"\n{\"action\": \"checkpoint\", \"sequenceNumber\": \"12\", \"subSequenceNumber\": 3}\n",
		"\n{\"action\": \"checkpoint\", \"sequenceNumber\": \"a\\\"\\n\", \"subSequenceNumber\": null}\n",
	}, writes)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestRecordsWithoutSomeFields: what a record lacks is null, but for the time of arrival.
func TestRecordsWithoutSomeFields(t *testing.T) {
	t.Parallel()
	key, bad := "é\"\\/\b\t\n\f\r\x01\x1f\x7f\u2028😀", "a\xffb\xc3"
	records := []kcl.Record{
		kcl.NewRecord(kcl.RecordFields{SequenceNumber: "1"}),
		kcl.NewRecord(kcl.RecordFields{SequenceNumber: "2", PartitionKey: &key, Data: []byte{0xff}, SubSequenceNumber: 7}),
		kcl.NewRecord(kcl.RecordFields{SequenceNumber: "3", PartitionKey: &bad, ApproximateArrival: time.UnixMilli(99)}),
	}
	var out bytes.Buffer
	w := protocol.NewDaemonWriter(&out)
	require.NoError(t, w.ProcessRecords(records, 0, false, time.UnixMilli(1500)))
	want := `{"action":"processRecords","records":[` +
		`{"data":"","partitionKey":null,"sequenceNumber":"1","approximateArrivalTimestamp":1500,` +
		`"subSequenceNumber":0,"action":"record"},` +
		`{"data":"/w==","partitionKey":"é\"\\/\b\t\n\f\r\u0001\u001F` + "\x7f\u2028" + `😀","sequenceNumber":"2",` +
		`"approximateArrivalTimestamp":1500,"subSequenceNumber":7,"action":"record"},` +
		`{"data":"","partitionKey":"a�b�","sequenceNumber":"3","approximateArrivalTimestamp":99,` +
		`"subSequenceNumber":0,"action":"record"}],"millisBehindLatest":null}` + "\n"
	require.Equal(t, want, out.String())
	require.Equal(t, int64(1), w.InvalidKeys())
	m, err := protocol.ParseFromDaemon(out.Bytes())
	require.NoError(t, err)
	got, ok := m.Records[1].PartitionKey()
	require.True(t, ok)
	require.Equal(t, key, got)

	out.Reset()
	require.NoError(t, w.Initialize("shardId-1", kcl.ExtendedSequenceNumber{}))
	want = `{"action":"initialize","shardId":"shardId-1","sequenceNumber":null,"subSequenceNumber":null}` + "\n"
	require.Equal(t, want, out.String())
}

// TestM07LargeMessage: a record of 10 MiB is written in pieces, and read again. Other large batches
// have a key that is longer than a piece, and data that end at the edge of one.
func TestM07LargeMessage(t *testing.T) {
	t.Parallel()
	longKey := strings.Repeat("kéy\x00", 50_000)
	for name, sizes := range map[string][]int{
		"one record": {10 << 20}, "edges": {12<<10 - 1, 12 << 10, 12<<10 + 1, 0, 1, 2, 3, 64 << 10, 48 << 10, 48<<10 + 2},
	} {
		var records []kcl.Record
		for i, size := range sizes {
			data := make([]byte, size)
			for j := range data {
				data[j] = byte(j * (i + 3) >> 2)
			}
			records = append(records, kcl.NewRecord(kcl.RecordFields{
				SequenceNumber: "4968046387539", SubSequenceNumber: int64(i), Data: data, PartitionKey: &longKey,
				ApproximateArrival: time.UnixMilli(1795362059018),
			}))
		}
		var out bytes.Buffer
		w := protocol.NewDaemonWriter(writerFunc(func(p []byte) (int, error) {
			require.LessOrEqual(t, len(p), 64<<10, name)
			return out.Write(p)
		}))
		require.NoError(t, w.ProcessRecords(records, time.Minute, true, time.Time{}))
		require.True(t, json.Valid(out.Bytes()), name)
		m, err := protocol.ParseFromDaemon(out.Bytes())
		require.NoError(t, err)
		require.Equal(t, records, m.Records, name)
		require.Equal(t, time.Minute, m.Behind)
	}
}

func TestFailedWriteIsReported(t *testing.T) {
	t.Parallel()
	failure := errors.New("the child is gone")
	writes := 0
	w := protocol.NewDaemonWriter(writerFunc(func(p []byte) (int, error) {
		writes++
		return 0, failure
	}))
	large := []kcl.Record{kcl.NewRecord(kcl.RecordFields{SequenceNumber: "1", Data: make([]byte, 1<<20)})}
	require.ErrorIs(t, w.ProcessRecords(large, 0, true, time.Time{}), failure)
	require.Equal(t, 1, writes, "the rest of the message is not written")
	require.ErrorIs(t, w.Simple(protocol.LeaseLost), failure)
}

func batch(n, size int) []kcl.Record {
	key := "key-é"
	records := make([]kcl.Record, n)
	for i := range records {
		records[i] = kcl.NewRecord(kcl.RecordFields{
			SequenceNumber: "49680463875391921675483287125358763272667478700406603794", PartitionKey: &key,
			Data: bytes.Repeat([]byte{byte(i)}, size), ApproximateArrival: time.UnixMilli(1795362059018),
		})
	}
	return records
}

func TestWriterAllocatesNothing(t *testing.T) {
	w, records := protocol.NewDaemonWriter(io.Discard), batch(1000, 1024)
	require.Zero(t, testing.AllocsPerRun(5, func() {
		_ = w.ProcessRecords(records, time.Second, true, time.Time{})
	}))
}

// TestParserAllocatesPerBatch: the allocations of a batch do not depend on its length.
func TestParserAllocatesPerBatch(t *testing.T) {
	for _, n := range []int{10, 1000} {
		line := encode(t, batch(n, 100))
		scratch := make([]byte, len(line))
		require.LessOrEqual(t, testing.AllocsPerRun(5, func() {
			copy(scratch, line)
			_, _ = protocol.ParseFromDaemon(scratch)
		}), 10.0, "%d records", n)
	}
}

func encode(tb testing.TB, records []kcl.Record) []byte {
	tb.Helper()
	var out bytes.Buffer
	require.NoError(tb, protocol.NewDaemonWriter(&out).ProcessRecords(records, 0, true, time.Time{}))
	return out.Bytes()
}

func BenchmarkDaemonWriter(b *testing.B) {
	w, records := protocol.NewDaemonWriter(io.Discard), batch(1000, 1024)
	b.ReportAllocs()
	b.SetBytes(int64(len(encode(b, records))))
	for b.Loop() {
		_ = w.ProcessRecords(records, time.Second, true, time.Time{})
	}
}

func BenchmarkParseFromDaemon(b *testing.B) {
	line := encode(b, batch(1000, 1024))
	scratch := make([]byte, len(line))
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		copy(scratch, line)
		_, _ = protocol.ParseFromDaemon(scratch)
	}
}
