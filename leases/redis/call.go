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
)

type script = sdk.Script

// errNoAnswer is the cause of a call's own deadline.
var errNoAnswer = errors.New("no answer in time")

// one runs a script about the row of a lease. Its answer is not empty.
func (s *Store) one(ctx context.Context, action string, sc *script, key string, args ...any) ([]string, error) {
	answer, err := s.run(ctx, action, sc, []string{s.keys.row + key}, append([]any{key}, args...))
	if err != nil {
		return nil, err
	}
	return s.texts(action, answer)
}

// call runs a script that answers ok and a list, which it returns.
func (s *Store) call(ctx context.Context, action string, sc *script, rows []string, args ...any) ([]string, error) {
	answer, err := s.run(ctx, action, sc, rows, args)
	if err != nil {
		return nil, err
	}
	all, err := s.texts(action, answer)
	if err != nil {
		return nil, err
	}
	return all[1:], nil
}

// callRows reads the rows of some leases; its answers are in their order and
// not empty.
func (s *Store) callRows(ctx context.Context, page []string, args []any) ([][]string, error) {
	names := make([]string, len(page))
	for i, key := range page {
		names[i] = s.keys.row + key
	}
	answer, err := s.run(ctx, "list", rowsScript, names, args)
	if err != nil {
		return nil, err
	}
	if len(answer) != len(page)+1 {
		return nil, s.strange("list", answer)
	}
	rows := make([][]string, len(page))
	for i := range rows {
		row, _ := answer[i+1].([]any)
		if rows[i], err = s.texts("list", row); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (s *Store) texts(action string, answer []any) ([]string, error) {
	out := make([]string, len(answer))
	for i, v := range answer {
		text, ok := v.(string)
		if !ok {
			return nil, s.strange(action, answer)
		}
		out[i] = text
	}
	if len(out) == 0 {
		return nil, s.strange(action, answer)
	}
	return out, nil
}

func (s *Store) strange(action string, answer []any) error {
	return fmt.Errorf("%s in %s: Redis answered a script with %s", action, s.keys.table, quote(fmt.Sprint(answer...)))
}

// run makes one call with a deadline. The script is sent by its hash, and
// whole when the server does not have it yet. The error names the action, the
// table and the remedy where there is one.
func (s *Store) run(ctx context.Context, action string, sc *script, rows []string, args []any) ([]any, error) {
	names := append([]string{s.keys.table, s.keys.index}, rows...)
	all := append([]any{layoutName, formatVersion, s.cfg.Application}, args...)
	answer, err := s.bounded(ctx, action, func(ctx context.Context) ([]any, error) {
		return sc.Run(ctx, s.cfg.Client, names, all...).Slice()
	})
	if err != nil {
		return nil, err
	}
	return answer, s.refused(action, answer)
}

// bounded waits for a call for as long as the configuration says.
func (s *Store) bounded(ctx context.Context, action string, call func(context.Context) ([]any, error)) ([]any, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s in %s: %w", action, s.keys.table, context.Cause(ctx))
	}
	timed, cancel := context.WithTimeoutCause(ctx, s.cfg.RequestTimeout, errNoAnswer)
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
		return nil, s.explain(ctx, timed, action, r.err)
	}
	return r.answer, nil
}

// refused turns an answer that is about the whole table into an error.
func (s *Store) refused(action string, answer []any) error {
	if len(answer) == 0 {
		return s.strange(action, answer)
	}
	switch answer[0] {
	case "no table":
		return fmt.Errorf("%w: %s: %s; Init makes it, and reading starts again at the initial position", leases.ErrTableNotFound, action, s.keys.table)
	case "foreign":
		return s.foreign(answer[1:])
	}
	return nil
}

// foreign says what stands where the table should be.
func (s *Store) foreign(found []any) error {
	text := func(i int) string {
		if i < len(found) {
			v, _ := found[i].(string)
			return v
		}
		return ""
	}
	const other = "another application or library uses these keys: set Config.Application or Config.KeyPrefix to another name"
	table, index := text(0), text(1)
	layout, format, application := text(2), text(3), text(4)
	switch {
	case table == "none":
		return fmt.Errorf("%w: there is a %s %s, but no %s that says what it is: restore that key from a backup, or %s", leases.ErrForeignTable, index, s.keys.index, s.keys.table, other)
	case table != "hash" || index != "none" && index != "zset":
		return fmt.Errorf("%w: %s is a %s and %s a %s, want a hash and a zset (or none); %s", leases.ErrForeignTable, s.keys.table, table, s.keys.index, index, other)
	case layout != layoutName:
		return fmt.Errorf("%w: the layout in %s is %s, want %q; %s", leases.ErrForeignTable, s.keys.table, quote(layout), layoutName, other)
	case format != formatVersion:
		return fmt.Errorf("%w: the format in %s is %s, and this version of the library knows only %s: use the version that wrote it, or a later one", leases.ErrForeignTable, s.keys.table, quote(format), formatVersion)
	}
	return fmt.Errorf("%w: the keys %s... are of application %s, not %q; %s", leases.ErrForeignTable, s.keys.table, quote(application), s.cfg.Application, other)
}

func (s *Store) explain(ctx, timed context.Context, action string, err error) error {
	at := action + " in " + s.keys.table
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", at, context.Cause(ctx))
	case timed.Err() != nil:
		return fmt.Errorf("%s: %w after %v: %w", at, errNoAnswer, s.cfg.RequestTimeout, context.DeadlineExceeded)
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
