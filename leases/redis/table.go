package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	sdk "github.com/redis/go-redis/v9"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

type script = sdk.Script

// errNoAnswer is the cause of a call's own deadline.
var errNoAnswer = errors.New("no answer in time")

// table is the keys of one application in Redis, and the calls to them.
type table struct {
	client      sdk.UniversalClient
	keys        keys
	application string
	timeout     time.Duration // of a call
}

// one runs a script about the row of a lease. Its answer is not empty.
func (t *table) one(ctx context.Context, action string, sc *script, key string, args ...any) ([]string, error) {
	answer, err := t.run(ctx, action, sc, []string{t.keys.row + key}, append([]any{key}, args...))
	if err != nil {
		return nil, err
	}
	return t.texts(action, answer)
}

// call runs a script that answers ok and a list, which it returns.
func (t *table) call(ctx context.Context, action string, sc *script, rows []string, args ...any) ([]string, error) {
	answer, err := t.run(ctx, action, sc, rows, args)
	if err != nil {
		return nil, err
	}
	all, err := t.texts(action, answer)
	if err != nil {
		return nil, err
	}
	return all[1:], nil
}

// callRows reads the rows of some leases; its answers are in their order and
// not empty.
func (t *table) callRows(ctx context.Context, page []string, args []any) ([][]string, error) {
	names := make([]string, len(page))
	for i, key := range page {
		names[i] = t.keys.row + key
	}
	answer, err := t.run(ctx, "list", rowsScript, names, args)
	if err != nil {
		return nil, err
	}
	if len(answer) != len(page)+1 {
		return nil, t.strange("list", answer)
	}
	rows := make([][]string, len(page))
	for i := range rows {
		row, _ := answer[i+1].([]any)
		if rows[i], err = t.texts("list", row); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// texts reads an answer that is a list of strings, at least one.
func (t *table) texts(action string, answer []any) ([]string, error) {
	out := make([]string, len(answer))
	for i, v := range answer {
		text, ok := v.(string)
		if !ok {
			return nil, t.strange(action, answer)
		}
		out[i] = text
	}
	if len(out) == 0 {
		return nil, t.strange(action, answer)
	}
	return out, nil
}

// strange returns the error of an answer that no script gives.
func (t *table) strange(action string, answer []any) error {
	return fmt.Errorf("%s in %s: Redis answered a script with %s", action, t.keys.table, quote(fmt.Sprint(answer...)))
}

// run makes one call with a deadline. The script is sent by its hash, and
// whole when the server does not have it yet. The error names the action, the
// table and the remedy where there is one.
func (t *table) run(ctx context.Context, action string, sc *script, rows []string, args []any) ([]any, error) {
	names := append([]string{t.keys.table, t.keys.index}, rows...)
	all := append([]any{layoutName, formatVersion, t.application}, args...)
	answer, err := t.bounded(ctx, action, func(ctx context.Context) ([]any, error) {
		return sc.Run(ctx, t.client, names, all...).Slice()
	})
	if err != nil {
		return nil, err
	}
	return answer, t.refused(action, answer)
}

// bounded waits for a call for as long as the configuration says.
func (t *table) bounded(ctx context.Context, action string, call func(context.Context) ([]any, error)) ([]any, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s in %s: %w", action, t.keys.table, context.Cause(ctx))
	}
	timed, cancel := context.WithTimeoutCause(ctx, t.timeout, errNoAnswer)
	defer cancel()
	type result struct {
		answer []any
		err    error
	}
	done := make(chan result, 1)
	// Nobody waits for it when ctx ends first: the client does not look at ctx
	// while it waits for an answer. It ends with the client's read timeout,
	// which Config.Validate asks for.
	go func() {
		answer, err := call(timed)
		done <- result{answer, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-timed.Done():
		r.err = context.Cause(timed)
	}
	if r.err != nil {
		return nil, t.explain(ctx, timed, action, r.err)
	}
	return r.answer, nil
}

// refused turns an answer that is about the whole table into an error.
func (t *table) refused(action string, answer []any) error {
	if len(answer) == 0 {
		return t.strange(action, answer)
	}
	switch answer[0] {
	case "no table":
		return fmt.Errorf("%w: %s: %s; Init makes it, and reading starts again at the initial position", leases.ErrTableNotFound, action, t.keys.table)
	case "foreign":
		return t.foreign(answer[1:])
	}
	return nil
}

// foreign says what stands where the table should be.
func (t *table) foreign(found []any) error {
	text := func(i int) string {
		if i < len(found) {
			v, _ := found[i].(string)
			return v
		}
		return ""
	}
	const other = "another application or library uses these keys: set Config.Application or Config.KeyPrefix to another name"
	base, index := text(0), text(1)
	layout, format, application := text(2), text(3), text(4)
	switch {
	case base == "none":
		return fmt.Errorf("%w: there is a %s %s, but no %s that says what it is: restore that key from a backup, or %s", leases.ErrForeignTable, index, t.keys.index, t.keys.table, other)
	case base != "hash" || index != "none" && index != "zset":
		return fmt.Errorf("%w: %s is a %s and %s a %s, want a hash and a zset (or none); %s", leases.ErrForeignTable, t.keys.table, base, t.keys.index, index, other)
	case layout != layoutName:
		return fmt.Errorf("%w: the layout in %s is %s, want %q; %s", leases.ErrForeignTable, t.keys.table, quote(layout), layoutName, other)
	case format != formatVersion:
		return fmt.Errorf("%w: the format in %s is %s, and this version of the library knows only %s: use the version that wrote it, or a later one", leases.ErrForeignTable, t.keys.table, quote(format), formatVersion)
	}
	return fmt.Errorf("%w: the keys %s... are of application %s, not %q; %s", leases.ErrForeignTable, t.keys.table, quote(application), t.application, other)
}

// explain returns the error of a call, with the action, the table and the remedy.
func (t *table) explain(ctx, timed context.Context, action string, err error) error {
	at := action + " in " + t.keys.table
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", at, context.Cause(ctx))
	case timed.Err() != nil:
		return fmt.Errorf("%s: %w after %v: %w", at, errNoAnswer, t.timeout, context.DeadlineExceeded)
	}
	text := err.Error()
	if i := strings.Index(text, "with args beginning with"); i >= 0 {
		// A server that does not know a command repeats its arguments, and those
		// of AUTH and HELLO are the user and the password.
		return fmt.Errorf("%s: %s; Redis 6 or later is needed", at, strings.TrimRight(text[:i], " ,"))
	}
	switch {
	case denied(err):
		return fmt.Errorf("%s: %w: %w; the package comment of leases/redis lists the commands and keys that a user needs", at, kcl.ErrAccessDenied, err)
	case strings.Contains(text, "OOM "):
		return fmt.Errorf("%s: %w; Redis is at maxmemory: raise it, or let other data expire", at, err)
	}
	return fmt.Errorf("%s: %w", at, err)
}

// read turns a script's answer about one row into a lease.
func (t *table) read(key string, answer []string) (l leases.Lease, there bool, bad *leases.RowError) {
	switch status, rest := answer[0], answer[1:]; {
	case status == "type" && len(rest) > 0:
		bad = &leases.RowError{Key: key, Err: fmt.Errorf("it is a %s, want a hash", rest[0])}
	case status == "lost":
		bad = &leases.RowError{Key: key, Err: fmt.Errorf("%s names it, but it is gone: it was evicted (see maxmemory-policy) or deleted by hand", t.keys.index)}
	case len(rest) == 0:
		return leases.Lease{}, false, nil
	default:
		row := make(map[string]string, len(rest)/2)
		for i := 0; i+1 < len(rest); i += 2 {
			row[rest[i]] = rest[i+1]
		}
		l, bad = decode(key, row)
	}
	return l, true, t.remedy(key, bad)
}

// remedy adds to what is wrong with a row what to do about it.
func (t *table) remedy(key string, bad *leases.RowError) *leases.RowError {
	if bad != nil {
		bad.Err = fmt.Errorf("%w; correct the hash %s, or, to read the shard from the application's initial position, delete it and remove it from %s (DEL, ZREM); until then the shard is left alone",
			bad.Err, quote(t.keys.row+key), t.keys.index)
	}
	return bad
}

// denied tells whether Redis refused the user or what it wanted to do.
func denied(err error) bool {
	return answered(err, "NOPERM", "NOAUTH", "WRONGPASS", "The user executing the script can't", "has no permissions to")
}

// starting tells whether Redis said that it will serve this later.
func starting(err error) bool {
	return answered(err, "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "NOREPLICAS", "BUSY")
}

// answered tells whether Redis, and not the network, said one of the words.
// Errors of a command in a script start with different words in each version.
func answered(err error, words ...string) bool {
	e, ok := errors.AsType[sdk.Error](err)
	return ok && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(e.Error(), w) })
}
