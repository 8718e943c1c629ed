package redis

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// startTimeout bounds the wait for a server that loads its data, or for a cluster that elects a
// master.
const startTimeout = time.Minute

// errStartTimeout is the cause of a context that ended after startTimeout.
var errStartTimeout = fmt.Errorf("no usable Redis after %v", startTimeout)

// Init implements [leases.Store]. It makes the table's key if it does not exist, and checks that
// the key is of this application and format. While Redis starts, Init tries again, for a minute at
// most. The error wraps [leases.ErrForeignTable] for keys of another layout, format or application,
// and kcl.ErrAccessDenied for a missing right.
func (s *Store) Init(ctx context.Context) error {
	if err := s.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errStartTimeout)
	defer cancel()
	wait := retry.New(100*time.Millisecond, 2*time.Second)
	var last error // the last error of Redis
	for {
		created, err := s.table.runOnTable(ctx, "init", initScript, time.Now().UTC().Format(time.RFC3339))
		switch {
		case err == nil:
			if len(created) > 0 {
				s.log(ctx).LogAttrs(ctx, slog.LevelInfo, "lease table created")
			}
			s.warnOfEviction(ctx)
			return nil
		case ctx.Err() != nil && last != nil: // the time ended during the attempt
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		case !isStarting(err):
			return err
		}
		last = err
		s.log(ctx).LogAttrs(ctx, slog.LevelWarn, "lease table cannot be used yet", slog.Any("err", err))
		if wait.Wait(ctx) != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// log returns the logger of the store, or else that of the caller.
func (s *Store) log(ctx context.Context) *slog.Logger {
	table := s.cfg.KeyPrefix + ":{" + s.cfg.Application + "}"
	return cmp.Or(s.cfg.Logger, leases.Logger(ctx)).With("table", table)
}

// warnOfEviction logs a warning of a server that may drop rows. A failure to ask is no error,
// because the warning is only advice.
func (s *Store) warnOfEviction(ctx context.Context) {
	timed, cancel := context.WithTimeoutCause(ctx, s.cfg.RequestTimeout, errNoAnswer)
	defer cancel()
	info, err := s.cfg.Client.Info(timed, "memory").Result()
	if err != nil {
		s.log(ctx).LogAttrs(ctx, slog.LevelDebug, "the eviction policy of redis is not known", slog.Any("err", err))
		return
	}
	for line := range strings.Lines(info) {
		policy, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:")
		if ok && strings.HasPrefix(policy, "allkeys-") {
			s.log(ctx).LogAttrs(ctx, slog.LevelWarn, "redis may evict leases when its memory is full, "+
				"and their shards would not be read: set maxmemory-policy to noeviction", slog.String("policy", policy))
		}
	}
}
