package processors_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/processors"
)

// A processor inside asks to be replaced after the call that brought its records has returned. No
// other record comes. The decorator says so all the same.
func TestRestartOnAnIdleShardIsTold(t *testing.T) {
	t.Parallel()
	restarting := func() kcl.Processor {
		return processors.Each(func(context.Context, kcl.Record) error {
			return fmt.Errorf("lost my database: %w", kcl.ErrRestart)
		}, processors.FuncOptions{Logger: quiet})
	}
	lane := func(int) kcl.Processor { return restarting() }
	for name, decorate := range map[string]func() kcl.Processor{
		"batch": func() kcl.Processor {
			return processors.Batch(restarting(), processors.BatchOptions{Logger: quiet})
		},
		"concurrent": func() kcl.Processor {
			return processors.Concurrent(lane, processors.ConcurrentOptions{Logger: quiet})
		},
		"retry around concurrent": func() kcl.Processor {
			lanes := processors.Concurrent(lane, processors.ConcurrentOptions{Logger: quiet})
			return processors.Retry(lanes, processors.RetryOptions{Logger: quiet})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := open(t, decorate())
				idle, ok := s.p.(kcl.IdleChecker)
				require.True(t, ok)
				require.NoError(t, idle.CheckIdle(s.ctx))
				_ = s.deliver(recs(1, 3)...) // a decorator may tell at once
				time.Sleep(time.Minute)
				require.ErrorIs(t, idle.CheckIdle(s.ctx), kcl.ErrRestart)
				s.lose()
			})
		})
	}
}

// A Batch whose processor is at work between two calls is asked, and does not wait for it.
func TestCheckIdleDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := processors.Each(func(ctx context.Context, _ kcl.Record) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, processors.FuncOptions{Logger: quiet})
		s := open(t, processors.Batch(slow, processors.BatchOptions{MaxAge: time.Second, Logger: quiet}))
		require.NoError(t, s.deliver(recs(1, 1)...))
		time.Sleep(time.Minute) // the batch was handed on after a second
		idle, ok := s.p.(kcl.IdleChecker)
		require.True(t, ok)
		asked := time.Now()
		require.NoError(t, idle.CheckIdle(s.ctx))
		require.Zero(t, time.Since(asked))
		s.lose()
	})
}
