package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go/logging"
	"github.com/lmittmann/tint"

	"github.com/kinesis-go/kcl/leases"
	dynamostore "github.com/kinesis-go/kcl/leases/dynamodb"
	redisstore "github.com/kinesis-go/kcl/leases/redis"
)

// source says which table is meant, and where it is.
type source struct {
	table, application string
	marks              bool // the application is what leases are marked with, and may differ from the table
	store              string
	region             string
	endpoint           string
	kinesisEndpoint    string
	redis              redisSource
	json               bool

	coordinatorTable, metricsTable string // of fleet only
}

// register adds the flags that every command has.
func (s *source) register(flags *flag.FlagSet) {
	flags.StringVar(&s.table, "table", "", "`name` of the lease table")
	flags.StringVar(&s.application, "application", "", "`name` of the application, which is also that of its table")
	flags.StringVar(&s.store, "store", "", "`kind` of store the table is in: dynamodb, or redis (default: redis with -redis, else dynamodb)")
	s.redis.register(flags, "redis", "REDIS_URL")
	flags.StringVar(&s.region, "region", "", "AWS `region` (default: as in the AWS environment)")
	flags.StringVar(&s.endpoint, "endpoint", "", "`URL` of DynamoDB (default: as in the AWS environment)")
	flags.BoolVar(&s.json, "json", false, "print JSON")
}

// registerMarks makes -application the name that leases are marked with.
func (s *source) registerMarks(flags *flag.FlagSet) {
	s.marks = true
	flags.Lookup("application").Usage = "`name` of the application (Config.Application), which the leases carry; also the table when -table is left out"
}

// registerKinesis adds the flag of commands that may ask Kinesis.
func (s *source) registerKinesis(flags *flag.FlagSet) {
	flags.StringVar(&s.kinesisEndpoint, "kinesis-endpoint", "", "`URL` of Kinesis (default: as in the AWS environment)")
}

// name is that of the table.
func (s *source) name() string { return cmp.Or(s.table, s.application) }

// open returns the store. It calls nobody.
func (s *source) open(ctx context.Context, t *terminal) (leases.Store, error) {
	if s.name() == "" {
		return nil, usagef("-table is missing: give the name of the lease table, or -application")
	}
	if s.table != "" && s.application != "" && s.table != s.application && !s.marks {
		return nil, usagef("-table and -application name different tables: give one")
	}
	switch s.kind() {
	case "dynamodb":
		client, err := s.dynamo(ctx)
		if err != nil {
			return nil, err
		}
		cfg := s.dynamoConfig(t, client, s.name())
		if err := cfg.Validate(); err != nil {
			return nil, usagef("-table %q: a name has 3 to 255 letters, digits, '_', '.' or '-'", s.name())
		}
		cfg.CoordinatorTable, cfg.WorkerMetricsTable = s.coordinatorTable, s.metricsTable
		if err := cfg.Validate(); err != nil {
			return nil, usageError{err}
		}
		return dynamostore.New(cfg), nil
	case "redis":
		cfg, err := s.redis.config(t, "redis", s.name())
		if err != nil {
			return nil, err
		}
		return redisstore.New(cfg), nil
	}
	return nil, usagef("-store %q: use dynamodb or redis", s.store)
}

// kind is that of the store.
func (s *source) kind() string {
	switch {
	case s.store != "":
		return s.store
	case s.redis.url != "":
		return "redis"
	}
	return "dynamodb"
}

func (s *source) dynamoConfig(t *terminal, client *dynamodb.Client, table string) dynamostore.Config {
	return dynamostore.Config{Client: client, Table: table, RequestTimeout: 10 * time.Second, ConsistentList: true, Logger: t.logger()}
}

func (s *source) aws(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(s.region), config.WithLogger(logging.Nop{})) // what matters comes back as an error
	if err != nil {
		return cfg, fmt.Errorf("read the AWS environment: %w", err)
	}
	if cfg.Region == "" {
		return cfg, usagef("no region: give -region, or set AWS_REGION")
	}
	return cfg, nil
}

func (s *source) dynamo(ctx context.Context) (*dynamodb.Client, error) {
	cfg, err := s.aws(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkURL("-endpoint", s.endpoint); err != nil {
		return nil, err
	}
	return dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		if s.endpoint != "" {
			o.BaseEndpoint = &s.endpoint
		}
	}), nil
}

// kinesis makes a client for a stream: in the region of its ARN, if it is one.
func (s *source) kinesis(ctx context.Context, nameOrARN string) (*kinesis.Client, error) {
	cfg, err := s.aws(ctx)
	if err != nil {
		return nil, err
	}
	if parts := strings.Split(nameOrARN, ":"); len(parts) > 3 {
		cfg.Region = parts[3]
	}
	if err := checkURL("-kinesis-endpoint", s.kinesisEndpoint); err != nil {
		return nil, err
	}
	return kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
		if s.kinesisEndpoint != "" {
			o.BaseEndpoint = &s.kinesisEndpoint
		}
	}), nil
}

func checkURL(name, value string) error {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return usagef("%s is not a URL such as http://127.0.0.1:8000", name) // not repeated: it may hold a password
	}
	return nil
}

// logger writes what the store warns of.
func (t *terminal) logger() *slog.Logger {
	return slog.New(tint.NewTextHandler(t.err, &tint.Options{Level: slog.LevelWarn, TimeFormat: time.TimeOnly, NoColor: !isTerminal(t.err)}))
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// read opens the store and reads all rows.
func (s *source) read(ctx context.Context, t *terminal) (leases.Store, leases.Listing, error) {
	store, err := s.open(ctx, t)
	if err != nil {
		return nil, leases.Listing{}, err
	}
	listing, err := s.list(ctx, store)
	return store, listing, err
}

// list reads all rows, in order of stream and key.
func (s *source) list(ctx context.Context, store leases.Store) (leases.Listing, error) {
	l, err := store.List(ctx)
	if err != nil {
		return l, s.explain(err)
	}
	sortListing(l)
	if len(l.Leases) == 0 && len(l.Bad) > 0 && allWithoutKey(l.Bad) {
		return l, fmt.Errorf("table %s is no lease table: its rows have no leaseKey; if it is one of vmware-go-kcl or of a fork of it, read it with `kclctl leases import -from %s`: %w",
			s.name(), s.name(), leases.ErrForeignTable)
	}
	if len(l.Leases) == 0 && len(l.Bad) == 0 && s.kind() == "dynamodb" {
		return l, s.foreign(ctx)
	}
	return l, nil
}

// foreign refuses an empty table that cannot become a lease table, as its key is
// another. It is nil as well when the table may not be described.
func (s *source) foreign(ctx context.Context) error {
	client, err := s.dynamo(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	name := s.name()
	out, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
	if err != nil || out.Table == nil {
		return nil
	}
	var keys []string
	for _, k := range out.Table.KeySchema {
		keys = append(keys, aws.ToString(k.AttributeName))
	}
	if len(keys) == 0 || slices.Equal(keys, []string{"leaseKey"}) {
		return nil
	}
	return fmt.Errorf("table %s is empty, and no lease table: its key is %s, not leaseKey: check -table: %w", name, strings.Join(keys, ", "), leases.ErrForeignTable)
}

// explain says what to do about the errors of a store that only the caller can judge.
func (s *source) explain(err error) error {
	if errors.Is(err, leases.ErrTableNotFound) {
		where := "the region and the account"
		if s.kind() == "redis" {
			where = "-redis and -redis-prefix"
		}
		return fmt.Errorf("there is no table %s here: check -table, %s: %w", s.name(), where, leases.ErrTableNotFound)
	}
	return err
}
