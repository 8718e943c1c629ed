package multilang

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// spoken is one recorded line between the Java MultiLangDaemon and a Python child.
type spoken struct {
	PID  int    `json:"pid"`
	Dir  string `json:"dir"`
	Line string `json:"line"`
}

// conversations reads the recorded lines, by child.
func conversations(t *testing.T) map[int][]spoken {
	t.Helper()
	file, err := os.Open("internal/protocol/testdata/multilang.jsonl")
	require.NoError(t, err)
	defer file.Close()
	all := map[int][]spoken{}
	for scan := bufio.NewScanner(file); scan.Scan(); {
		var s spoken
		require.NoError(t, json.Unmarshal(scan.Bytes(), &s))
		if s.Dir == "to-child" || s.Dir == "from-child" {
			all[s.PID] = append(all[s.PID], s)
		}
	}
	require.Len(t, all, 4)
	return all
}

// TestReplayOfTheJavaDaemon: with the same calls and the same answers of the child, the daemon says
// what the Java daemon said, byte for byte. Its checkpoints are accepted and refused as there.
func TestReplayOfTheJavaDaemon(t *testing.T) {
	for _, lines := range conversations(t) {
		t.Run("child", func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBench(t, CommandConfig{}, func(f *fakeChild) {
					for _, s := range lines {
						if s.Dir == "from-child" {
							f.print(s.Line)
						} else if got := f.line(); got != s.Line {
							t.Errorf("the daemon says %q\nthe Java daemon %q", got, s.Line)
						}
					}
				})
				for _, s := range lines {
					if s.Dir == "to-child" {
						b.replay(s.Line)
					}
				}
				b.gone()
				require.NotEmpty(t, b.writer.all)
				require.Equal(t, "exit status 0", b.children[0].how)
				require.Zero(t, b.Stats().NoiseLines)
			})
		})
	}
}

// replay makes the call that leads to a line of the daemon. A checkpoint belongs to the call
// before.
func (b *bench) replay(line string) {
	b.t.Helper()
	m, err := protocol.ParseFromDaemon([]byte(line))
	require.NoError(b.t, err)
	ctx := b.t.Context()
	switch m.Action {
	case protocol.Initialize:
		b.processor = b.NewProcessor(kcl.StreamIdentifier{}, kcl.Shard{ID: m.ShardID})
		err = b.processor.Initialize(ctx, kcl.InitializeInput{Checkpoint: m.Position})
	case protocol.ProcessRecords:
		b.ck.Delivered(m.Records[len(m.Records)-1].Position())
		err = b.processor.ProcessRecords(ctx, kcl.ProcessRecordsInput{
			Records: m.Records, BehindLatest: m.Behind, LagUnknown: !m.BehindKnown, Checkpointer: b.ck,
		})
	case protocol.ShardEnded:
		err = b.end(ctx)
	case protocol.ShutdownRequested: // LeaseLost follows by itself
		err = b.shutdown(ctx)
	}
	require.NoError(b.t, err)
}
