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

// Config describes a fake Kinesis. The zero value is useful: an empty account, limits enforced, on an in-memory network over HTTP/2.
type Config struct {
	// Streams exist and are ACTIVE from the start. Default: none.
	Streams []StreamConfig

	// AccountID is the twelve-digit account of every ARN. Defaults to 000000000000.
	AccountID string

	// Region is the region of every ARN. Defaults to us-east-1.
	Region string

	// DisableLimits switches the published rates off: calls per second, bytes and records per second, shards per account and consumers
	// per stream. What is not a rate stays: sizes of records and requests, and the five-second rule of SubscribeToShard.
	// Default: all limits are enforced.
	DisableLimits bool

	// ShardLimit is how many open shards the account may have, checked unless DisableLimits. Defaults to 20000.
	ShardLimit int

	// StateDelay is how long a stream or consumer stays CREATING, UPDATING or DELETING. Defaults to 20 ms; negative means no time at all.
	StateDelay time.Duration

	// PageSize, when positive, caps every page of a list operation below what AWS gives, so that a test sees several pages.
	PageSize int

	// Deny is asked before every call and makes it fail with AccessDeniedException when it returns true. operation is the name of the API,
	// such as SubscribeToShard; resource is the ARN of the stream or consumer, or * for operations of the account. It is called from
	// the goroutines of the server, several at once. Default: everything is allowed.
	Deny func(operation, resource string) bool

	// Quirks make the server differ from AWS as other servers for tests do. Default: none.
	Quirks Quirks

	// Listen is a TCP address such as 127.0.0.1:0. Default: no port; the server is reached on an in-memory network through its HTTPClient.
	Listen string

	// Others answers the requests of other services, told by their X-Amz-Target header, so that several fakes share one endpoint.
	// It is called from the goroutines of the server, several at once. Default: such requests fail with UnknownOperationException.
	Others http.Handler

	// TLS serves HTTPS with a certificate made at start, which the server's HTTPClient trusts. Default: plain HTTP.
	TLS bool

	// HTTP1 makes the server's HTTPClient speak HTTP/1.1. Default: HTTP/2 (with prior knowledge when TLS is off). The server itself
	// always speaks both.
	HTTP1 bool

	// MaxConcurrentStreams is how many requests, subscriptions included, an HTTP/2 client may have under way on one connection; for more
	// it opens another. Defaults to what net/http allows (at least 100). What AWS allows is not published.
	MaxConcurrentStreams int

	// Network is the in-memory network to listen on when several servers share one. Only packages of this module can make one. Excludes
	// Listen. Default: a network of the server's own.
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

	// AutoDistribution lets the service choose shards (RecordDistributionStrategy AUTO), so that partition keys are dropped. Needs OnDemand.
	// Default: USER_PARTITION_KEY.
	AutoDistribution bool

	// Retention is how long records are kept, in whole hours from 24 to 8760. Defaults to 24 h.
	Retention time.Duration

	// MaxRecordSizeKiB is the largest record, data and partition key, from 1024 to 10240. Defaults to 1024.
	MaxRecordSizeKiB int
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	c.AccountID = cmp.Or(c.AccountID, DefaultAccountID)
	c.Region = cmp.Or(c.Region, DefaultRegion)
	c.ShardLimit = cmp.Or(c.ShardLimit, DefaultShardLimit)
	c.StateDelay = cmp.Or(c.StateDelay, DefaultStateDelay)
	return c
}

// Validate reports everything that is wrong with the configuration, each problem naming its field.
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
		problems = append(problems, fmt.Errorf("kinesistest: StreamConfig.%s of stream %q is %v, want %s", field, s.Name, value, want))
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
	if s.Retention%time.Hour != 0 || s.Retention < minRetentionHours*time.Hour || s.Retention > maxRetentionHours*time.Hour {
		bad("Retention", s.Retention, "whole hours from 24 to 8760")
	}
	if s.MaxRecordSizeKiB < minRecordKiB || s.MaxRecordSizeKiB > maxRecordKiB {
		bad("MaxRecordSizeKiB", s.MaxRecordSizeKiB, "1024 to 10240")
	}
	return errors.Join(problems...)
}
