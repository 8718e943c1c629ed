package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/redis/go-redis/v9"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/gokcl"
)

// GoKCLTable is a lease table that a fork of vmware-go-kcl keeps in Redis:
// kclctl reads it to import its checkpoints, and writes it to export ours. It is
// no [leases.Store]. It is safe for concurrent use. Its keys are
//
//	kcl:orders:shards      set: the ids of the shards
//	kcl:orders:shard:<id>  hash: one row, with the fields of package gokcl
//
// which, unlike ours, have no hash tag: that library knows single servers only.
type GoKCLTable struct {
	cfg    Config
	prefix string
}

// NewGoKCLTable returns the table that cfg names; Application is its name. It
// calls nobody.
func NewGoKCLTable(cfg Config) *GoKCLTable {
	cfg = New(cfg).cfg // with its defaults
	return &GoKCLTable{cfg: cfg, prefix: cfg.KeyPrefix + ":" + cfg.Application + ":shard"}
}

func (g *GoKCLTable) setKey() string          { return g.prefix + "s" }
func (g *GoKCLTable) rowKey(id string) string { return g.prefix + ":" + id }

// Init does nothing: such a table is there when it has rows.
func (g *GoKCLTable) Init(context.Context) error { return nil }

// foreignPage is how many rows are asked for at once.
const foreignPage = 200

// List returns all rows, in no order, and what is wrong with those that cannot
// be read. No rows at all are an error that wraps [leases.ErrTableNotFound].
func (g *GoKCLTable) List(ctx context.Context) ([]gokcl.Row, []*leases.RowError, error) {
	var ids []string
	err := g.call(ctx, "list", func(ctx context.Context) (err error) {
		ids, err = g.cfg.Client.SMembers(ctx, g.setKey()).Result()
		return err
	})
	switch {
	case err != nil:
		return nil, nil, err
	case len(ids) == 0:
		return nil, nil, fmt.Errorf("%w: list: %s", leases.ErrTableNotFound, g.setKey())
	}
	var rows []gokcl.Row
	var damaged []*leases.RowError
	for page := range slices.Chunk(ids, foreignPage) {
		found := make([]*sdk.MapStringStringCmd, len(page))
		err := g.call(ctx, "list", func(ctx context.Context) error {
			_, err := g.cfg.Client.Pipelined(ctx, func(p sdk.Pipeliner) error {
				for i, id := range page {
					found[i] = p.HGetAll(ctx, g.rowKey(id))
				}
				return nil
			})
			if wrongType(err) {
				return nil // of one row, which is told below
			}
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		for i, id := range page {
			fields, err := found[i].Result()
			switch {
			case wrongType(err):
				damaged = append(damaged, &leases.RowError{Key: id, Err: fmt.Errorf("%s is no hash", quote(g.rowKey(id)))})
				continue
			case err != nil:
				return nil, nil, g.explain("list", err)
			case len(fields) == 0:
				continue // was deleted; its id stays in the set
			}
			if r, bad := decodeGoKCL(id, fields); bad != nil {
				damaged = append(damaged, bad)
			} else {
				rows = append(rows, r)
			}
		}
	}
	return rows, damaged, nil
}

func decodeGoKCL(id string, fields map[string]string) (gokcl.Row, *leases.RowError) {
	r, bad := gokcl.Decode(fields)
	if bad == nil && r.ShardID != id {
		bad = &leases.RowError{Err: fmt.Errorf("%s is %s, not as in the name of the key", gokcl.FieldShardID, quote(r.ShardID))}
	}
	if bad != nil {
		return r, &leases.RowError{Key: id, Err: bad.Err}
	}
	return r, nil
}

// Get returns one row as it is now. The error wraps [leases.ErrNotFound] when
// there is none, and is a [*leases.RowError] when it cannot be read.
func (g *GoKCLTable) Get(ctx context.Context, shardID string) (gokcl.Row, error) {
	var fields map[string]string
	err := g.call(ctx, "get", func(ctx context.Context) (err error) {
		fields, err = g.cfg.Client.HGetAll(ctx, g.rowKey(shardID)).Result()
		return err
	})
	switch {
	case err != nil:
		return gokcl.Row{}, err
	case len(fields) == 0:
		return gokcl.Row{}, fmt.Errorf("%w: %s", leases.ErrNotFound, g.rowKey(shardID))
	}
	r, bad := decodeGoKCL(shardID, fields)
	if bad != nil {
		return gokcl.Row{}, bad
	}
	return r, nil
}

// createForeign makes a row and enters its id, unless the row is there: then it
// answers what it holds.
// createForeign names the row before it makes it: when the user lacks the right for the
// second, there is no row, and the next attempt makes it.
var createForeign = sdk.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then
	return redis.call('HGETALL', KEYS[1])
end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return {}`)

// Create makes a row. When there is one with its shard id, that one is left as
// it is and returned.
func (g *GoKCLTable) Create(ctx context.Context, r gokcl.Row) (existing *gokcl.Row, err error) {
	args := []any{r.ShardID}
	for name, value := range r.Encode() {
		args = append(args, name, value)
	}
	var answer []string
	err = g.call(ctx, "create", func(ctx context.Context) (err error) {
		answer, err = createForeign.Run(ctx, g.cfg.Client, []string{g.rowKey(r.ShardID), g.setKey()}, args...).StringSlice()
		return err
	})
	if err != nil || len(answer) == 0 {
		return nil, err
	}
	fields := map[string]string{}
	for i := 0; i+1 < len(answer); i += 2 {
		fields[answer[i]] = answer[i+1]
	}
	row, bad := decodeGoKCL(r.ShardID, fields)
	if bad != nil {
		return nil, bad
	}
	return &row, nil
}

func (g *GoKCLTable) call(ctx context.Context, action string, fn func(context.Context) error) error {
	timed, cancel := context.WithTimeoutCause(ctx, g.cfg.RequestTimeout, errNoAnswer)
	defer cancel()
	err := fn(timed)
	if err != nil && timed.Err() != nil {
		err = context.Cause(timed)
	}
	return g.explain(action, err)
}

func (g *GoKCLTable) explain(action string, err error) error {
	switch {
	case err == nil:
		return nil
	case wrongType(err):
		return fmt.Errorf("%w of go-kcl: %s in %s: %w", leases.ErrForeignTable, action, g.setKey(), err)
	case denied(err):
		return fmt.Errorf("%s in %s: %w: %w", action, g.setKey(), kcl.ErrAccessDenied, err)
	}
	if text, _, found := strings.Cut(err.Error(), "with args beginning with"); found {
		// The arguments may be user and password.
		err = errors.New(strings.TrimRight(text, " ,"))
	}
	return fmt.Errorf("%s in %s: %w", action, g.setKey(), err)
}

func wrongType(err error) bool { return answered(err, "WRONGTYPE") }
