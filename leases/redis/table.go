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

// errNoAnswer is the cause of the deadline of a call.
var errNoAnswer = errors.New("no answer in time")

// table is the lease table of one application: its keys in Redis, and the calls to them.
type table struct {
	client      sdk.UniversalClient
	keys        keys
	application string
	timeout     time.Duration // of a call
}

// runOnRow runs a script about the row of a lease. Its answer is not empty.
func (t *table) runOnRow(ctx context.Context, action string, sc *script, key string, args ...any) ([]string, error) {
	answer, err := t.run(ctx, action, sc, []string{t.keys.row + key}, append([]any{key}, args...))
	if err != nil {
		return nil, err
	}
	return t.texts(action, answer)
}

// runOnTable runs a script that answers ok and a list. It returns the list.
func (t *table) runOnTable(ctx context.Context, action string, sc *script, args ...any) ([]string, error) {
	answer, err := t.run(ctx, action, sc, nil, args)
	if err != nil {
		return nil, err
	}
	all, err := t.texts(action, answer)
	if err != nil {
		return nil, err
	}
	return all[1:], nil
}

// judgeRows reads the rows of some leases by a script, which tells why a row cannot be read. The
// answers are in the order of the page, and not empty.
func (t *table) judgeRows(ctx context.Context, page []string, args []any) ([][]string, error) {
	names := make([]string, len(page))
	for i, key := range page {
		names[i] = t.keys.row + key
	}
	answer, err := t.run(ctx, "list", rowsScript, names, args)
	if err != nil {
		return nil, err
	}
	if len(answer) != len(page)+1 {
		return nil, t.unexpected("list", answer)
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

// texts reads an answer that is a list of at least one string.
func (t *table) texts(action string, answer []any) ([]string, error) {
	out := make([]string, len(answer))
	for i, v := range answer {
		text, ok := v.(string)
		if !ok {
			return nil, t.unexpected(action, answer)
		}
		out[i] = text
	}
	if len(out) == 0 {
		return nil, t.unexpected(action, answer)
	}
	return out, nil
}

// unexpected returns the error of an answer that no script gives.
func (t *table) unexpected(action string, answer []any) error {
	return fmt.Errorf("%s in %s: Redis answered a script with %s", action, t.keys.table, quote(fmt.Sprint(answer...)))
}

// run runs a script with a deadline. The client sends the hash of the script. If the server does
// not know the hash, it sends the script. The error names the action, the table and, where one is
// known, the remedy.
func (t *table) run(ctx context.Context, action string, sc *script, rows []string, args []any) ([]any, error) {
	names := append([]string{t.keys.table, t.keys.index}, rows...)
	all := append([]any{layoutName, formatVersion, t.application}, args...)
	answer, err := t.callInTime(ctx, action, func(ctx context.Context) ([]any, error) {
		return sc.Run(ctx, t.client, names, all...).Slice()
	})
	if err != nil {
		return nil, err
	}
	return answer, t.tableError(action, answer)
}

// callInTime waits for a call for at most Config.RequestTimeout.
func (t *table) callInTime(
	ctx context.Context, action string, call func(context.Context) ([]any, error),
) ([]any, error) {
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
	// The goroutine ends with the call. The client does not look at ctx while it waits for an answer.
	// If ctx ends first, nobody waits for the goroutine. Then it ends with the read timeout of the
	// client, on which Config.Validate insists.
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

// tableError turns an answer about the whole table into an error.
func (t *table) tableError(action string, answer []any) error {
	if len(answer) == 0 {
		return t.unexpected(action, answer)
	}
	switch answer[0] {
	case "no table":
		return fmt.Errorf("%w: %s: %s; Init makes it, and reading starts again at the initial position",
			leases.ErrTableNotFound, action, t.keys.table)
	case "foreign":
		return t.explainForeign(answer[1:])
	}
	return nil
}

// explainForeign returns the error of keys that belong to something else.
func (t *table) explainForeign(found []any) error {
	text := func(i int) string {
		if i < len(found) {
			v, _ := found[i].(string)
			return v
		}
		return ""
	}
	const other = "another application or library uses these keys: " +
		"set Config.Application or Config.KeyPrefix to another name"
	base, index := text(0), text(1)
	layout, format, application := text(2), text(3), text(4)
	switch {
	case base == "none":
		return fmt.Errorf("%w: there is a %s %s, but no %s that says what it is: restore that key from a backup, or %s",
			leases.ErrForeignTable, index, t.keys.index, t.keys.table, other)
	case base != "hash" || index != "none" && index != "zset":
		return fmt.Errorf("%w: %s is a %s and %s a %s, want a hash and a zset (or none); %s",
			leases.ErrForeignTable, t.keys.table, base, t.keys.index, index, other)
	case layout != layoutName:
		return fmt.Errorf("%w: the layout in %s is %s, want %q; %s",
			leases.ErrForeignTable, t.keys.table, quote(layout), layoutName, other)
	case format != formatVersion:
		return fmt.Errorf("%w: the format in %s is %s, and this version of the library knows only %s: "+
			"use the version that wrote it, or a later one",
			leases.ErrForeignTable, t.keys.table, quote(format), formatVersion)
	}
	return fmt.Errorf("%w: the keys %s... are of application %s, not %q; %s",
		leases.ErrForeignTable, t.keys.table, quote(application), t.application, other)
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
		// A server that does not know a command repeats its arguments. The arguments of AUTH and HELLO
		// are the user and the password.
		return fmt.Errorf("%s: %s; Redis 6 or later is needed", at, strings.TrimRight(text[:i], " ,"))
	}
	switch {
	case isDenied(err):
		return fmt.Errorf("%s: %w: %w; the package comment of leases/redis lists the commands and keys that a user needs",
			at, kcl.ErrAccessDenied, err)
	case strings.Contains(text, "OOM "):
		return fmt.Errorf("%s: %w; Redis is at maxmemory: raise it, or let other data expire", at, err)
	}
	return fmt.Errorf("%s: %w", at, err)
}

// decodeAnswer turns the answer of a script about one row into a lease. there tells whether the row
// exists.
func (t *table) decodeAnswer(key string, answer []string) (l leases.Lease, there bool, bad *leases.RowError) {
	switch status, rest := answer[0], answer[1:]; {
	case status == "type" && len(rest) > 0:
		bad = &leases.RowError{Key: key, Err: fmt.Errorf("it is a %s, want a hash", rest[0])}
	case status == "lost":
		bad = &leases.RowError{Key: key, Err: fmt.Errorf("%s names it, but it is gone: "+
			"it was evicted (see maxmemory-policy) or deleted by hand", t.keys.index)}
	case len(rest) == 0:
		return leases.Lease{}, false, nil
	default:
		row := make(map[string]string, len(rest)/2)
		for i := 0; i+1 < len(rest); i += 2 {
			row[rest[i]] = rest[i+1]
		}
		l, bad = decode(key, row)
	}
	return l, true, t.addRemedy(key, bad)
}

// addRemedy adds to the error of a row what to do about it.
func (t *table) addRemedy(key string, bad *leases.RowError) *leases.RowError {
	if bad != nil {
		bad.Err = fmt.Errorf("%w; correct the hash %s, or, to read the shard from the application's initial position, "+
			"delete it and remove it from %s (DEL, ZREM); until then the shard is left alone",
			bad.Err, quote(t.keys.row+key), t.keys.index)
	}
	return bad
}

// isDenied tells whether Redis refused the user, or refused a command for lack of a right.
func isDenied(err error) bool {
	return answered(err, "NOPERM", "NOAUTH", "WRONGPASS",
		"The user executing the script can't", "has no permissions to")
}

// isStarting tells whether Redis said that it will serve the call later.
func isStarting(err error) bool {
	return answered(err, "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "NOREPLICAS", "BUSY")
}

// answered tells whether Redis, and not the network, said one of the words. The words may stand
// anywhere, because errors of a command in a script begin differently in each version of Redis.
func answered(err error, words ...string) bool {
	e, ok := errors.AsType[sdk.Error](err)
	return ok && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(e.Error(), w) })
}
