package gokcl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// listPage is how many rows one request of a listing reads.
const listPage = 200

// RedisTable is a lease table that a fork of vmware-go-kcl keeps in Redis. It is no [leases.Store].
// It is safe for concurrent use. Its keys are
//
//	kcl:orders:shards      set: the ids of the shards
//	kcl:orders:shard:<id>  hash: one row
//
// They have no hash tag, because that library knows single servers only.
type RedisTable struct {
	client  redis.UniversalClient
	prefix  string // of all keys
	timeout time.Duration
}

// NewRedisTable returns the table of an application. It makes no request. prefix is the first word
// of the keys, by default kcl. timeout bounds each request.
func NewRedisTable(client redis.UniversalClient, prefix, application string, timeout time.Duration) *RedisTable {
	return &RedisTable{client: client, prefix: cmp.Or(prefix, "kcl") + ":" + application + ":shard", timeout: timeout}
}

func (t *RedisTable) setKey() string          { return t.prefix + "s" }
func (t *RedisTable) rowKey(id string) string { return t.prefix + ":" + id }

// Init does nothing: such a table exists when it has rows.
func (t *RedisTable) Init(context.Context) error { return nil }

// List returns all rows, in no order, and an error for each row that cannot be read. A table
// without rows is an error that wraps [leases.ErrTableNotFound].
func (t *RedisTable) List(ctx context.Context) ([]Row, []*leases.RowError, error) {
	var ids []string
	err := t.call(ctx, "list", func(ctx context.Context) (err error) {
		ids, err = t.client.SMembers(ctx, t.setKey()).Result()
		return err
	})
	switch {
	case err != nil:
		return nil, nil, err
	case len(ids) == 0:
		return nil, nil, fmt.Errorf("%w: list: %s", leases.ErrTableNotFound, t.setKey())
	}
	var rows []Row
	var damaged []*leases.RowError
	for page := range slices.Chunk(ids, listPage) {
		found, err := t.readPage(ctx, page)
		if err != nil {
			return nil, nil, err
		}
		for i, id := range page {
			fields, err := found[i].Result()
			switch {
			case wrongType(err):
				damaged = append(damaged, &leases.RowError{Key: id, Err: fmt.Errorf("%s is no hash", quote(t.rowKey(id)))})
				continue
			case err != nil:
				return nil, nil, t.explain("list", err)
			case len(fields) == 0:
				continue // the row was deleted, and its id stays in the set
			}
			if r, bad := decodeHash(id, fields); bad != nil {
				damaged = append(damaged, bad)
			} else {
				rows = append(rows, r)
			}
		}
	}
	return rows, damaged, nil
}

// readPage reads the rows of the ids in one request. Each answer has its own error.
func (t *RedisTable) readPage(ctx context.Context, ids []string) ([]*redis.MapStringStringCmd, error) {
	found := make([]*redis.MapStringStringCmd, len(ids))
	err := t.call(ctx, "list", func(ctx context.Context) error {
		_, err := t.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, id := range ids {
				found[i] = p.HGetAll(ctx, t.rowKey(id))
			}
			return nil
		})
		if wrongType(err) {
			return nil // the error of one row, which its answer has too
		}
		return err
	})
	return found, err
}

// decodeHash reads the hash of a shard id.
func decodeHash(id string, fields map[string]string) (Row, *leases.RowError) {
	r, bad := Decode(fields)
	if bad == nil && r.ShardID != id {
		bad = &leases.RowError{Err: fmt.Errorf("%s is %s, not as in the name of the key", FieldShardID, quote(r.ShardID))}
	}
	if bad != nil {
		return r, &leases.RowError{Key: id, Err: bad.Err}
	}
	return r, nil
}

// Get returns one row as it is now. The error wraps [leases.ErrNotFound] when there is none, and is
// a [*leases.RowError] when it cannot be read.
func (t *RedisTable) Get(ctx context.Context, shardID string) (Row, error) {
	var fields map[string]string
	err := t.call(ctx, "get", func(ctx context.Context) (err error) {
		fields, err = t.client.HGetAll(ctx, t.rowKey(shardID)).Result()
		return err
	})
	switch {
	case err != nil:
		return Row{}, err
	case len(fields) == 0:
		return Row{}, fmt.Errorf("%w: %s", leases.ErrNotFound, t.rowKey(shardID))
	}
	r, bad := decodeHash(shardID, fields)
	if bad != nil {
		return Row{}, bad
	}
	return r, nil
}

// createHash makes a row and enters its id, unless the row exists: then it returns the fields of
// the row. It enters the id first. When the user lacks the right to make the row, there is no row,
// and a repetition makes it.
var createHash = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then
	return redis.call('HGETALL', KEYS[1])
end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return {}`)

// Create makes a row. If a row with the shard id exists, that row stays as it is and is returned.
func (t *RedisTable) Create(ctx context.Context, r Row) (existing *Row, err error) {
	args := []any{r.ShardID}
	for name, value := range r.Encode() {
		args = append(args, name, value)
	}
	var answer []string
	err = t.call(ctx, "create", func(ctx context.Context) (err error) {
		answer, err = createHash.Run(ctx, t.client, []string{t.rowKey(r.ShardID), t.setKey()}, args...).StringSlice()
		return err
	})
	if err != nil || len(answer) == 0 {
		return nil, err
	}
	fields := map[string]string{}
	for i := 0; i+1 < len(answer); i += 2 {
		fields[answer[i]] = answer[i+1]
	}
	row, bad := decodeHash(r.ShardID, fields)
	if bad != nil {
		return nil, bad
	}
	return &row, nil
}

// call makes one request with a deadline.
func (t *RedisTable) call(ctx context.Context, action string, request func(context.Context) error) error {
	timed, cancel := context.WithTimeoutCause(ctx, t.timeout, errNoAnswer)
	defer cancel()
	err := request(timed)
	if err != nil && timed.Err() != nil {
		err = context.Cause(timed)
	}
	return t.explain(action, err)
}

// errNoAnswer is the cause of a request's own deadline.
var errNoAnswer = errors.New("no answer in time")

// explain returns the error of a request, with the action and the table.
func (t *RedisTable) explain(action string, err error) error {
	switch {
	case err == nil:
		return nil
	case wrongType(err):
		return fmt.Errorf("%w of go-kcl: %s in %s: %w", leases.ErrForeignTable, action, t.setKey(), err)
	case answered(err, "NOPERM", "NOAUTH", "WRONGPASS", "The user executing the script can't", "has no permissions to"):
		return fmt.Errorf("%s in %s: %w: %w", action, t.setKey(), kcl.ErrAccessDenied, err)
	}
	if text, _, found := strings.Cut(err.Error(), "with args beginning with"); found {
		// The arguments may be user and password.
		err = errors.New(strings.TrimRight(text, " ,"))
	}
	return fmt.Errorf("%s in %s: %w", action, t.setKey(), err)
}

// wrongType tells whether Redis said that a key has another type than the command needs.
func wrongType(err error) bool { return answered(err, "WRONGTYPE") }

// answered tells whether Redis, and not the network, said one of the words.
func answered(err error, words ...string) bool {
	e, ok := errors.AsType[redis.Error](err)
	return ok && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(e.Error(), w) })
}
