package main

import (
	"context"
	"errors"
	"flag"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/leases"
)

var showCommand = command{
	name: "show", args: "KEY...", summary: "print everything about a lease",
	help: `Prints all attributes of the leases with these keys, as they are now.

Examples:
  kclctl leases show -table orders shardId-000000000002
  kclctl leases show -table orders -json shardId-000000000002`,
	setup: func(flags *flag.FlagSet) action {
		var src source
		src.register(flags)
		return func(ctx context.Context, t *terminal.Terminal, keys []string) error {
			if len(keys) == 0 {
				return usagef("a KEY is missing: `kclctl leases list` prints them")
			}
			return show(ctx, t, &src, keys)
		}
	},
}

func show(ctx context.Context, t *terminal.Terminal, src *source, keys []string) error {
	store, err := src.open(ctx, t)
	if err != nil {
		return err
	}
	report, failed := newLeaseReport(src), false
	for i, key := range keys {
		l, err := store.Get(ctx, key)
		var bad *leases.RowError
		switch {
		case errors.As(err, &bad):
			report.Bad = append(report.Bad, view.BadOf(bad))
			failed = true
			t.Note("kclctl: %v", err)
		case errors.Is(err, leases.ErrNotFound):
			failed = true
			t.Note("kclctl: there is no lease \"%s\" in table %s", key, src.name())
		case err != nil:
			return src.explain(err)
		default:
			report.Leases = append(report.Leases, view.RowOf(l))
			if src.json {
				continue
			}
			if i > 0 {
				t.Line("")
			}
			t.Table(view.Attributes(l))
		}
	}
	if src.json {
		if err := t.JSON(report); err != nil {
			return err
		}
	}
	if failed {
		return terminal.ErrReported
	}
	return nil
}
