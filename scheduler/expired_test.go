package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/scheduler"
)

// TestE17ExpiredUnreadIsTold: nobody has read for longer than records are kept, and the service
// starts at the oldest record without a word. The log says so, once. It says nothing while the
// record at the checkpoint is still there.
func TestE17ExpiredUnreadIsTold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		away     time.Duration
		want     string
		warnings int
	}{
		"for too long": {29 * time.Hour, "kept new new new", 1},
		"for a while":  {23 * time.Hour, "unread kept new new new", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(1))
				a := r.worker("a", mode)
				a.collect(everything)
				r.putRaw([]byte("read"))
				a.start()
				time.Sleep(20 * time.Second)
				require.NoError(t, a.stop())
				r.putRaw([]byte("unread"))
				time.Sleep(test.away / 2)
				r.putRaw([]byte("kept"))
				time.Sleep(test.away / 2)
				log := r.capture()
				b := r.worker("b", mode)
				got := b.collect(everything)
				b.start()
				for range 3 {
					time.Sleep(20 * time.Second)
					r.putRaw([]byte("new"))
				}
				time.Sleep(5 * time.Second)
				require.NoError(t, b.stop())
				require.Equal(t, test.want, got.text())
				require.Equal(t, test.warnings, log.count("the record at the checkpoint has left the retention period"))
			})
		})
	}
}
