package kinesistest

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/internal/memnet"
)

// Defaults of [Config] and [StreamConfig].
const (
	DefaultAccountID  = "000000000000"
	DefaultRegion     = "us-east-1"
	DefaultStateDelay = 20 * time.Millisecond
	DefaultShards     = 1
	DefaultRetention  = 24 * time.Hour
	DefaultShardLimit = 20000
)

// Config describes a fake Kinesis. The zero value is an empty account, with all limits, on an
// in-memory network over HTTP/2.
type Config struct {
	// Streams exist and are ACTIVE from the start. Default: none.
	Streams []StreamConfig

	// AccountID is the twelve-digit account of every ARN. Defaults to 000000000000.
	AccountID string

	// Region is the region of every ARN. Defaults to us-east-1.
	Region string

	// DisableLimits switches the published rates off: calls, bytes and records per second, shards per
	// account and consumers per stream. Sizes of records and requests stay limited, and so does the
	// time between two calls of SubscribeToShard. Default: all limits are enforced.
	DisableLimits bool

	// ShardLimit is how many open shards the account may have. DisableLimits switches it off. Defaults
	// to 20000.
	ShardLimit int

	// StateDelay is how long a stream or consumer stays CREATING, UPDATING or DELETING. Defaults to 20
	// ms. A negative value means no time.
	StateDelay time.Duration

	// EventDelay is how long the first new record of a shard waits before a subscription sends it. The
	// event has all records that have come until then. AWS takes about 70 ms. Default: no time.
	EventDelay time.Duration

	// PageSize, when positive, is the most results on a page of a list operation, if AWS allows more.
	// With a small one a test sees several pages.
	PageSize int

	// Deny is called before every call. If it returns true, the call fails with AccessDeniedException.
	// operation is the name of the API, such as SubscribeToShard. resource is the ARN of the stream or
	// consumer, or * for operations of the account. Several goroutines of the server call it at once.
	// Default: everything is allowed.
	Deny func(operation, resource string) bool

	// Quirks make the server differ from AWS in the ways in which other test servers do. Default:
	// none.
	Quirks Quirks

	// Listen is a TCP address such as 127.0.0.1:0. Default: no port; the server's HTTPClient reaches
	// it on an in-memory network.
	Listen string

	// Others answers requests to other services, whose X-Amz-Target header differs, so that several
	// fakes can share one endpoint. Several goroutines of the server call it at once. Default: such
	// requests fail with UnknownOperationException.
	Others http.Handler

	// TLS serves HTTPS with a certificate that is made at start. The server's HTTPClient trusts it.
	// Default: plain HTTP.
	TLS bool

	// HTTP1 makes the server's HTTPClient speak HTTP/1.1. The server itself always speaks both.
	// Default: HTTP/2, with prior knowledge if TLS is off.
	HTTP1 bool

	// MaxConcurrentStreams is how many requests, subscriptions included, an HTTP/2 client may have
	// under way on one connection. For more requests the client opens another connection. AWS does not
	// publish its limit. Defaults to that of net/http, at least 100.
	MaxConcurrentStreams int

	// Network is the in-memory network to listen on if several servers share one. Only packages of
	// this module can make one. It excludes Listen. Default: a network of the server's own.
	Network *memnet.Network
}

// StreamConfig describes a stream that exists when the server starts.
type StreamConfig struct {
	// Name of the stream. Required.
	Name string

	// Shards is how many shards it starts with, their hash ranges equal. Defaults to 1.
	Shards int

	// OnDemand makes the capacity mode ON_DEMAND. Default: PROVISIONED.
	OnDemand bool

	// AutoDistribution lets the service choose shards (RecordDistributionStrategy AUTO) and drop
	// partition keys. It needs OnDemand. Default: USER_PARTITION_KEY.
	AutoDistribution bool

	// Retention is how long records are kept, in whole hours from 24 to 8760. Defaults to 24 h.
	Retention time.Duration

	// MaxRecordSizeKiB is the largest record, data and partition key, from 1024 to 10240. Defaults to
	// 1024.
	MaxRecordSizeKiB int
}

// withDefaults replaces zero values by the defaults.
func (c Config) withDefaults() Config {
	c.AccountID = cmp.Or(c.AccountID, DefaultAccountID)
	c.Region = cmp.Or(c.Region, DefaultRegion)
	c.ShardLimit = cmp.Or(c.ShardLimit, DefaultShardLimit)
	c.StateDelay = cmp.Or(c.StateDelay, DefaultStateDelay)
	return c
}

// Validate reports every mistake in the configuration. Each names its field.
func (c Config) Validate() error {
	var problems []error
	if c.AccountID != "" && (len(c.AccountID) != 12 || strings.Trim(c.AccountID, "0123456789") != "") {
		problems = append(problems, fmt.Errorf("kinesistest: Config.AccountID is %q, want twelve digits", c.AccountID))
	}
	names := map[string]bool{}
	for _, sc := range c.Streams {
		if err := sc.validate(); err != nil {
			problems = append(problems, err)
		}
		if names[sc.Name] {
			problems = append(problems, fmt.Errorf("kinesistest: Config.Streams has two streams named %q", sc.Name))
		}
		names[sc.Name] = true
	}
	return errors.Join(problems...)
}

func (s StreamConfig) withDefaults() StreamConfig {
	s.Shards = cmp.Or(s.Shards, DefaultShards)
	s.Retention = cmp.Or(s.Retention, DefaultRetention)
	s.MaxRecordSizeKiB = cmp.Or(s.MaxRecordSizeKiB, minRecordKiB)
	return s
}

func (s StreamConfig) validate() error {
	s = s.withDefaults()
	var problems []error
	bad := func(field string, value any, want string) {
		problems = append(problems,
			fmt.Errorf("kinesistest: StreamConfig.%s of stream %q is %v, want %s", field, s.Name, value, want))
	}
	if !validName.MatchString(s.Name) {
		bad("Name", s.Name, "1 to 128 letters, digits, dots, hyphens and underscores")
	}
	if s.Shards < 1 || s.Shards > maxStreamShards {
		bad("Shards", s.Shards, "1 to 100000")
	}
	if s.AutoDistribution && !s.OnDemand {
		bad("AutoDistribution", true, "OnDemand as well")
	}
	if s.Retention%time.Hour != 0 || s.Retention < minRetentionHours*time.Hour ||
		s.Retention > maxRetentionHours*time.Hour {
		bad("Retention", s.Retention, "whole hours from 24 to 8760")
	}
	if s.MaxRecordSizeKiB < minRecordKiB || s.MaxRecordSizeKiB > maxRecordKiB {
		bad("MaxRecordSizeKiB", s.MaxRecordSizeKiB, "1024 to 10240")
	}
	return errors.Join(problems...)
}
