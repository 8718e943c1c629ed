package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/leases"
)

// Store is the lease table of one application in Redis. It is safe for concurrent use. Its only
// state is its Config.
type Store struct {
	cfg   Config
	table *table
}

var _ leases.Store = (*Store)(nil)

// New returns a Store. It makes no request. [Store.Validate] and [Store.Init] report problems of
// cfg.
func New(cfg Config) *Store {
	cfg.KeyPrefix = cmp.Or(cfg.KeyPrefix, defaultKeyPrefix)
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, defaultRequestTimeout)
	return &Store{cfg: cfg, table: &table{
		client: cfg.Client, keys: keysOf(cfg.KeyPrefix, cfg.Application), application: cfg.Application,
		timeout: cfg.RequestTimeout,
	}}
}

// Validate reports every problem of the Config that New was given.
func (s *Store) Validate() error {
	if s == nil {
		return errors.New("leases/redis: the store is nil: make it with redis.New")
	}
	if err := s.cfg.Validate(); err != nil {
		return fmt.Errorf("leases/redis: %w", err)
	}
	return nil
}

// String returns the name of the table, and nothing of the client.
func (s *Store) String() string { return "leases/redis table " + s.table.keys.table }

// GoString is [Store.String].
func (s *Store) GoString() string { return s.String() }

// Get implements [leases.Store] with a read from the master.
func (s *Store) Get(ctx context.Context, key string) (leases.Lease, error) {
	row, err := s.table.runOnRow(ctx, "get", getScript, key)
	if err != nil {
		return leases.Lease{}, err
	}
	l, there, bad := s.table.decodeAnswer(key, row)
	switch {
	case bad != nil:
		return leases.Lease{}, bad
	case !there:
		return leases.Lease{}, fmt.Errorf("%w: %q in %s", leases.ErrNotFound, key, s.table.keys.table)
	}
	return l, nil
}

// Create implements [leases.Store].
func (s *Store) Create(ctx context.Context, l leases.Lease) error {
	row, err := encode(l)
	if err != nil {
		return err
	}
	args := append([]any{chance.Text("call", l.Key)}, arguments(row)...)
	return s.write(ctx, "create", createScript, l.Key, args)
}

// Update implements [leases.Store].
func (s *Store) Update(ctx context.Context, u leases.Update) error {
	expect, err := fields(u.Read, u.Expect)
	if err != nil {
		return err
	}
	set, err := fields(u.To, u.Set)
	if err != nil {
		return err
	}
	args := append([]any{chance.Text("call", u.Read.Key), len(expect)}, arguments(expect)...)
	return s.write(ctx, "update", updateScript, u.Read.Key, append(args, arguments(set)...))
}

// Delete implements [leases.Store]. It also removes the entry that an evicted row left in the
// index.
func (s *Store) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	want, err := fields(read, expect)
	if err != nil {
		return err
	}
	return s.write(ctx, "delete", deleteScript, read.Key, append([]any{len(want)}, arguments(want)...))
}

// write runs a script that answers ok or conflict.
func (s *Store) write(ctx context.Context, action string, script *script, key string, args []any) error {
	answer, err := s.table.runOnRow(ctx, action, script, key, args...)
	if err != nil || answer[0] == "ok" {
		return err
	}
	l, there, bad := s.table.decodeAnswer(key, answer)
	switch {
	case bad != nil:
		return bad
	case !there:
		return &leases.ConflictError{Key: key}
	}
	return &leases.ConflictError{Key: key, Current: &l}
}
