package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go/logging"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/leases"
	dynamostore "github.com/kinesis-go/kcl/leases/dynamodb"
	redisstore "github.com/kinesis-go/kcl/leases/redis"
)

// requestTimeout bounds one request to a store.
const requestTimeout = 10 * time.Second

// The kinds of stores.
const (
	kindDynamoDB = "dynamodb"
	kindRedis    = "redis"
)

// source holds the flags that say which lease table a command works on, and where it is.
type source struct {
	table, application string
	// marks means that application is the name in the leases, which may differ from the table's.
	marks           bool
	store           string
	region          string
	endpoint        string
	kinesisEndpoint string
	redis           redisSource
	json            bool

	coordinatorTable, metricsTable string // only of the command fleet
}

// register adds the flags that every command has.
func (s *source) register(flags *flag.FlagSet) {
	flags.StringVar(&s.table, "table", "", "`name` of the lease table")
	flags.StringVar(&s.application, "application", "", "`name` of the application; its table has the same name")
	flags.StringVar(&s.store, "store", "",
		"`kind` of the table's store: dynamodb or redis (default: redis with -redis, else dynamodb)")
	s.redis.register(flags, "redis")
	flags.StringVar(&s.region, "region", "", "AWS `region` (default: as in the AWS environment)")
	flags.StringVar(&s.endpoint, "endpoint", "", "`URL` of DynamoDB (default: as in the AWS environment)")
	flags.BoolVar(&s.json, "json", false, "print JSON")
}

// registerMarks makes -application the name in the leases.
func (s *source) registerMarks(flags *flag.FlagSet) {
	s.marks = true
	flags.Lookup("application").Usage = "`name` of the application in the leases (Config.Application); " +
		"without -table also the name of the table"
}

// registerKinesis adds the flag of commands that may ask Kinesis.
func (s *source) registerKinesis(flags *flag.FlagSet) {
	flags.StringVar(&s.kinesisEndpoint, "kinesis-endpoint", "", "`URL` of Kinesis (default: as in the AWS environment)")
}

// name is the name of the table.
func (s *source) name() string { return cmp.Or(s.table, s.application) }

// kind is the kind of the table's store.
func (s *source) kind() string {
	switch {
	case s.store != "":
		return s.store
	case s.redis.url != "":
		return kindRedis
	}
	return kindDynamoDB
}

// open returns the store. It sends no request.
func (s *source) open(ctx context.Context, t *terminal.Terminal) (leases.Store, error) {
	if s.name() == "" {
		return nil, usagef("-table is missing: give the name of the lease table, or -application")
	}
	if s.table != "" && s.application != "" && s.table != s.application && !s.marks {
		return nil, usagef("-table and -application name different tables: give one")
	}
	switch s.kind() {
	case kindDynamoDB:
		cfg, err := s.dynamoConfig(ctx, t, "table", s.name())
		if err != nil {
			return nil, err
		}
		cfg.CoordinatorTable, cfg.WorkerMetricsTable = s.coordinatorTable, s.metricsTable
		if err := cfg.Validate(); err != nil {
			return nil, usageError{err}
		}
		return dynamostore.New(cfg), nil
	case kindRedis:
		cfg, err := s.redis.config(t, "redis", s.name())
		if err != nil {
			return nil, err
		}
		return redisstore.New(cfg), nil
	}
	return nil, usagef("-store %q: use dynamodb or redis", s.store)
}

// dynamoConfig returns the configuration of a table in DynamoDB. A flag gave its name.
func (s *source) dynamoConfig(
	ctx context.Context, t *terminal.Terminal, flagName, table string,
) (dynamostore.Config, error) {
	client, err := s.dynamo(ctx)
	if err != nil {
		return dynamostore.Config{}, err
	}
	cfg := dynamostore.Config{
		Client: client, Table: table, RequestTimeout: requestTimeout, ConsistentList: true, Logger: t.Logger(),
	}
	if cfg.Validate() != nil {
		return cfg, usagef("-%s %q: a name has 3 to 255 letters, digits, '_', '.' or '-'", flagName, table)
	}
	return cfg, nil
}

// aws reads the AWS environment.
func (s *source) aws(ctx context.Context) (aws.Config, error) {
	// The SDK does not log: its errors come back to us.
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(s.region), config.WithLogger(logging.Nop{}))
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
	endpoint, err := endpointOf("-endpoint", s.endpoint)
	if err != nil {
		return nil, err
	}
	return dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.BaseEndpoint = cmp.Or(endpoint, o.BaseEndpoint)
	}), nil
}

// kinesis returns a client for a stream. An ARN names the region.
func (s *source) kinesis(ctx context.Context, nameOrARN string) (*kinesis.Client, error) {
	cfg, err := s.aws(ctx)
	if err != nil {
		return nil, err
	}
	if parts := strings.Split(nameOrARN, ":"); len(parts) > 3 {
		cfg.Region = parts[3]
	}
	endpoint, err := endpointOf("-kinesis-endpoint", s.kinesisEndpoint)
	if err != nil {
		return nil, err
	}
	return kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
		o.BaseEndpoint = cmp.Or(endpoint, o.BaseEndpoint)
	}), nil
}

// endpointOf returns the URL of a flag, or nil for an empty flag.
func endpointOf(flagName, value string) (*string, error) {
	if value == "" {
		return nil, nil //nolint:nilnil // no flag is no error
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		// The value may hold a password: the error does not repeat it.
		return nil, usagef("%s is not a URL such as http://127.0.0.1:8000", flagName)
	}
	return &value, nil
}
