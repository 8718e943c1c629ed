package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	"github.com/kinesis-go/kcl/leases"
)

// Store is the lease table of one application in Redis. It is safe for
// concurrent use and holds no state but its Config.
type Store struct {
	cfg  Config
	keys keys
	log  *slog.Logger
}

var _ leases.Store = (*Store)(nil)

// New returns a Store. It calls nobody; Validate and Init say what is wrong with cfg.
func New(cfg Config) *Store {
	cfg.KeyPrefix = cmp.Or(cfg.KeyPrefix, DefaultKeyPrefix)
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, DefaultRequestTimeout)
	log := cmp.Or(cfg.Logger, slog.Default())
	return &Store{cfg: cfg, keys: keysOf(cfg.KeyPrefix, cfg.Application), log: log.With("table", cfg.KeyPrefix+":{"+cfg.Application+"}")}
}

// Validate reports everything that is wrong with the Config that New was given.
func (s *Store) Validate() error {
	if s == nil {
		return errors.New("leases/redis: the store is nil: make it with redis.New")
	}
	if err := s.cfg.Validate(); err != nil {
		return fmt.Errorf("leases/redis: %w", err)
	}
	return nil
}

// String names the table, and nothing of the client.
func (s *Store) String() string { return "leases/redis table " + s.keys.table }

// GoString is [Store.String].
func (s *Store) GoString() string { return s.String() }

// Get implements [leases.Store] with a read from the master.
func (s *Store) Get(ctx context.Context, key string) (leases.Lease, error) {
	row, err := s.one(ctx, "get", getScript, key)
	if err != nil {
		return leases.Lease{}, err
	}
	l, there, bad := s.read(key, row)
	switch {
	case bad != nil:
		return leases.Lease{}, bad
	case !there:
		return leases.Lease{}, fmt.Errorf("%w: %q in %s", leases.ErrNotFound, key, s.keys.table)
	}
	return l, nil
}

// Create implements [leases.Store].
func (s *Store) Create(ctx context.Context, l leases.Lease) error {
	row, err := encode(l)
	if err != nil {
		return err
	}
	args := append([]any{rand.Text()}, arguments(row)...)
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
	args := append([]any{rand.Text(), len(expect)}, arguments(expect)...)
	return s.write(ctx, "update", updateScript, u.Read.Key, append(args, arguments(set)...))
}

// Delete implements [leases.Store]. What an evicted row left in the index is
// removed too.
func (s *Store) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	want, err := fields(read, expect)
	if err != nil {
		return err
	}
	return s.write(ctx, "delete", deleteScript, read.Key, append([]any{len(want)}, arguments(want)...))
}

// write runs a script that answers ok or conflict.
func (s *Store) write(ctx context.Context, action string, script *script, key string, args []any) error {
	answer, err := s.one(ctx, action, script, key, args...)
	if err != nil || answer[0] == "ok" {
		return err
	}
	l, there, bad := s.read(key, answer)
	switch {
	case bad != nil:
		return bad
	case !there:
		return &leases.ConflictError{Key: key}
	}
	return &leases.ConflictError{Key: key, Current: &l}
}

// read turns a script's answer about one row into a lease.
func (s *Store) read(key string, answer []string) (l leases.Lease, there bool, bad *leases.RowError) {
	switch status, rest := answer[0], answer[1:]; {
	case status == "type" && len(rest) > 0:
		bad = &leases.RowError{Key: key, Err: fmt.Errorf("it is a %s, want a hash", rest[0])}
	case status == "lost":
		bad = &leases.RowError{Key: key, Err: fmt.Errorf("%s names it, but it is gone: it was evicted (see maxmemory-policy) or deleted by hand", s.keys.index)}
	case len(rest) == 0:
		return leases.Lease{}, false, nil
	default:
		row := make(map[string]string, len(rest)/2)
		for i := 0; i+1 < len(rest); i += 2 {
			row[rest[i]] = rest[i+1]
		}
		l, bad = decode(key, row)
	}
	return l, true, s.remedy(key, bad)
}

// remedy adds to what is wrong with a row what to do about it.
func (s *Store) remedy(key string, bad *leases.RowError) *leases.RowError {
	if bad != nil {
		bad.Err = fmt.Errorf("%w; correct the hash %s, or, to read the shard from the application's initial position, delete it and remove it from %s (DEL, ZREM); until then the shard is left alone",
			bad.Err, quote(s.keys.row+key), s.keys.index)
	}
	return bad
}
