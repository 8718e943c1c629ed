package main

import (
	"cmp"
	"context"
	"flag"
	"os"

	sdk "github.com/redis/go-redis/v9"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/leases/redis"
)

// redisSource holds the flags that say where a Redis is, and how its keys begin.
type redisSource struct {
	url, mode, prefix string
}

// register adds the flags. Their names start with name.
func (r *redisSource) register(flags *flag.FlagSet, name string) {
	flags.StringVar(&r.url, name, "", "`URL` of the Redis, such as rediss://user@host:6379/0 "+
		"(default: REDIS_URL, which keeps the password out of the list of processes)")
	flags.StringVar(&r.mode, name+"-mode", "single",
		"`kind` of Redis at the URL: single, cluster or sentinel (with ?master_name=NAME in the URL)")
	flags.StringVar(&r.prefix, name+"-prefix", "kcl", "`text` before the first colon of the keys")
}

// config returns the configuration of a table called name. It sends no request. Its errors repeat
// nothing of the URL, which may hold a password.
func (r *redisSource) config(t *terminal.Terminal, flagName, name string) (redis.Config, error) {
	url := cmp.Or(r.url, os.Getenv("REDIS_URL"))
	if url == "" {
		return redis.Config{}, usagef("-%s is missing: give the URL of the Redis, or set REDIS_URL", flagName)
	}
	client, err := r.client(url, flagName)
	if err != nil {
		return redis.Config{}, err
	}
	t.CloseAtEnd(client)
	cfg := redis.Config{
		Client: client, Application: name, KeyPrefix: r.prefix, RequestTimeout: requestTimeout, Logger: t.Logger(),
	}
	if err := cfg.Validate(); err != nil {
		return cfg, usageError{err}
	}
	return cfg, nil
}

func (r *redisSource) client(url, flagName string) (sdk.UniversalClient, error) {
	switch r.mode {
	case "single":
		if o, err := sdk.ParseURL(url); err == nil {
			o.ContextTimeoutEnabled = true
			return sdk.NewClient(o), nil
		}
	case "cluster":
		if o, err := sdk.ParseClusterURL(url); err == nil {
			o.ContextTimeoutEnabled = true
			return sdk.NewClusterClient(o), nil
		}
	case "sentinel":
		if o, err := sdk.ParseFailoverURL(url); err == nil && o.MasterName != "" {
			o.ContextTimeoutEnabled = true
			return sdk.NewFailoverClient(o), nil
		}
		return nil, usagef("-%s is not a URL such as redis://host:26379?master_name=orders&addr=host2:26379", flagName)
	default:
		return nil, usagef("-%s-mode %q: use single, cluster or sentinel", flagName, r.mode)
	}
	return nil, usagef("-%s is not a URL such as redis://host:6379/0, or rediss:// for TLS", flagName)
}

// silent replaces the log of the Redis client, whose errors come back to us.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
