package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

// lines are the lines of a JSON log with a message.
func lines(t *testing.T, l *logged, message string) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []map[string]any
	for line := range strings.Lines(l.text.String()) {
		require.NotContains(t, line, "{}", "a value without a text")
		require.NotContains(t, line, `"err":null`)
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		if m["msg"] == message {
			out = append(out, m)
		}
	}
	return out
}

// What logs and status say in JSON is what they say in text.
func TestJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		l := &logged{}
		r.log = slog.New(slog.NewJSONHandler(l, nil))
		a := r.worker("a").start()
		r.produce(3, 10*time.Second, keys(1))
		former := a.Status().Worker
		a.kill()

		l = &logged{}
		r.log = slog.New(slog.NewJSONHandler(l, nil))
		b := r.worker("b")
		b.do = func(context.Context, *processor, kcl.ProcessRecordsInput) error { return errors.New("no database") }
		b.start()
		r.produce(20, 5*time.Second, keys(1))

		require.Equal(t, "FANOUT", lines(t, l, "worker starts")[0]["mode"])
		taken := lines(t, l, "lease taken")[0]
		require.Equal(t, "expired", taken["reason"])
		require.Equal(t, former, taken["former_owner"])
		sh := b.shard(r.open()[0])
		require.Equal(t, sh.Checkpoint.String(), taken["checkpoint"])
		failed := lines(t, l, "record processor failed")
		for i, line := range failed[:3] {
			require.EqualValues(t, i+1, line["attempt"])
			require.Equal(t, sh.Checkpoint.String(), line["processed"])
			require.Regexp(t, `^\d+$`, line["position"])
			require.Equal(t, "no database", line["err"])
			require.Equal(t, "PROCESSING", line["state"])
		}

		text, err := json.Marshal(b.Status())
		require.NoError(t, err)
		var status struct {
			Streams []struct {
				Mode   string
				Err    *string
				Shards []map[string]any
			}
		}
		require.NoError(t, json.Unmarshal(text, &status), string(text))
		require.Equal(t, "FANOUT", status.Streams[0].Mode)
		require.Nil(t, status.Streams[0].Err)
		shard := status.Streams[0].Shards[0]
		require.Equal(t, "PROCESSING", shard["State"])
		require.Equal(t, sh.Checkpoint.String(), shard["Checkpoint"])
		require.Equal(t, "no database", shard["Err"])
		require.Nil(t, shard["MillisBehindLatest"])
		require.Contains(t, shard, "MillisBehindLatest")
		require.NotContains(t, shard, "CaughtUp")

		b.setDo(nil)
		r.caughtUp(5*time.Minute, b)
		text, err = json.Marshal(b.Status().Streams[0].Shards[0])
		require.NoError(t, err)
		require.Contains(t, string(text), `"MillisBehindLatest":0`)
		require.NotContains(t, string(text), `"Err"`)
		require.NoError(t, b.stop())
		require.NotContains(t, lines(t, l, "worker has stopped")[0], "err")
	})
}

// The line that tells of the end tells why.
func TestStopThatIsAnErrorSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		l := &logged{}
		r.log = slog.New(slog.NewJSONHandler(l, nil))
		w := r.worker("a").start()
		r.eventually(time.Minute, "read", func() bool { return r.owned() == 1 })
		r.srv.Inject(kinesistest.Fault{
			Operation: "ListShards",
			Do:        []kinesistest.Action{kinesistest.Fail("AccessDeniedException", "no")},
		})
		require.NoError(t, r.srv.DeleteStream(streamName))
		<-w.done
		require.Error(t, w.err)
		stopped := lines(t, l, "worker has stopped")
		require.Len(t, stopped, 1)
		require.Equal(t, w.err.Error(), stopped[0]["err"])
	})
}

func TestEnumsHaveNames(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal([]any{
		scheduler.EFO, scheduler.Polling, scheduler.StateNone, scheduler.FallbackPolling, scheduler.FallbackOff,
		scheduler.SplitAggregates, scheduler.NoDeletion,
		&scheduler.StallError{ShardID: "shardId-0", Layer: scheduler.LayerParent, Err: errors.New("late")},
	})
	require.NoError(t, err)
	require.Contains(t, string(text),
		`["FANOUT","POLLING","NONE","FallbackPolling","FallbackOff","SplitAggregates","NO_STREAMS_LEASES_DELETION",`)
	require.Contains(t, string(text), `"Err":"late"`)
}
