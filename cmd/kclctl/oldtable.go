package main

import (
	"context"
	"flag"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/transfer"
	"github.com/kinesis-go/kcl/internal/gokcl"
)

var (
	_ transfer.Table = (*gokcl.DynamoDBTable)(nil)
	_ transfer.Table = (*gokcl.RedisTable)(nil)
)

// oldSource holds the flags that say where a table of go-kcl is.
type oldSource struct {
	table string
	store string
	redis redisSource
}

// register adds the flags. Their names start with direction: from or to.
func (o *oldSource) register(flags *flag.FlagSet, direction string) {
	flags.StringVar(&o.table, direction, "", "`name` of the table of go-kcl")
	flags.StringVar(&o.store, direction+"-store", kindDynamoDB, "`kind` of that table's store: dynamodb or redis")
	o.redis.register(flags, direction+"-redis")
}

// open returns the table. It sends no request.
func (o *oldSource) open(
	ctx context.Context, t *terminal.Terminal, src *source, direction string,
) (transfer.Table, error) {
	if o.table == "" {
		return nil, usagef("-%s is missing: give the name of the table of go-kcl", direction)
	}
	switch o.store {
	case kindDynamoDB:
		cfg, err := src.dynamoConfig(ctx, t, direction, o.table)
		if err != nil {
			return nil, err
		}
		if src.kind() == kindDynamoDB && o.table == src.name() {
			return nil, usagef("-%s and -table are the same table: the layouts cannot share one", direction)
		}
		return gokcl.NewDynamoDBTable(cfg.Client, cfg.Table, cfg.RequestTimeout), nil
	case kindRedis:
		cfg, err := o.redis.config(t, direction+"-redis", o.table)
		if err != nil {
			return nil, err
		}
		return gokcl.NewRedisTable(cfg.Client, cfg.KeyPrefix, cfg.Application, cfg.RequestTimeout), nil
	}
	return nil, usagef("-%s-store %q: use dynamodb or redis", direction, o.store)
}

// String names the table in messages.
func (o *oldSource) String() string { return "table " + o.table }

// transferOptions returns the flags that a transfer obeys.
func (w *writer) transferOptions() transfer.Options {
	return transfer.Options{Yes: w.yes, DryRun: w.dryRun, JSON: w.src.json}
}
