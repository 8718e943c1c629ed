package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

// What other servers for tests do otherwise stops nobody: two workers share a
// stream, by fan-out or polling, follow a split and a merge, and go on after a restart.
func TestServersThatDifferFromAWS(t *testing.T) {
	t.Parallel()
	arn := "arn:aws:kinesis:us-east-1:000000000000:stream/" + streamName
	for name, quirks := range map[string]kinesistest.Quirks{
		"numbers with leading zeros":         {PadSequenceNumbers: true},
		"consumer ARN without creation time": {PlainConsumerARNs: true},
		"a StreamARN alone is refused":       {NeedStreamName: true},
		"all":                                {PadSequenceNumbers: true, PlainConsumerARNs: true, NeedStreamName: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				cfg := oneStream(2)
				cfg.Quirks = quirks
				r := newRig(t, cfg)
				log := r.capture()
				byARN := func(c *scheduler.Config) { c.Streams = []scheduler.StreamConfig{{ARN: arn}} }
				a, b := r.worker("a", mode).start(), r.worker("b", mode, byARN).start()
				r.produce(5, time.Second, keys(20))
				left, _ := r.split(r.open()[0])
				r.produce(5, time.Second, keys(20))
				r.merge(left, r.open()[1])
				r.produce(5, time.Second, keys(20))
				r.finished(time.Minute)
				require.NoError(t, a.Healthy())
				require.NoError(t, a.stop())
				require.NoError(t, b.stop())
				w := r.worker("c", mode).start()
				r.produce(5, time.Second, keys(20))
				r.finished(time.Minute)
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
				require.Zero(t, log.count(fellBack))
				r.audit.check(0)
			})
		})
	}
}
