package polling

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardread"
	"github.com/kinesis-go/kcl/metrics"
)

// Defaults of [Config].
const (
	DefaultIdleInterval = time.Second
	DefaultMaxRecords   = 10000
	DefaultCallTimeout  = 30 * time.Second

	DefaultPrefetchBytes = 2 << 20
)

// Config says how a [Fetcher] reads. Client and one of StreamARN and StreamName are required.
type Config struct {
	// Client calls Kinesis. It may be shared.
	Client *kinesis.Client
	// StreamARN is the ARN of the stream. It is preferred to the name, and needed for a stream of
	// another account.
	StreamARN string
	// StreamName may be given in place of StreamARN.
	StreamName string
	// Lineage names the children of a shard when the last answer of the service does not. Without
	// a Lineage such a shard is asked again and again. AWS always names the children; some
	// emulators do not.
	Lineage kcl.Lineage
	// IdleInterval is the time between two calls when the reader has caught up and no records
	// come (idleTimeBetweenReadsInMillis in the KCL). Each answer with records halves the time,
	// down to 200ms; each answer without records doubles it. Defaults to 1s (DefaultIdleInterval).
	// Calls come at least 200ms apart in any case, because the service allows five a second.
	IdleInterval time.Duration
	// MaxRecords is the most records that one call may bring, 1 to 10000. Until records have come,
	// whose size is not known before, it is 1000 at most. Defaults to 10000 (DefaultMaxRecords).
	MaxRecords int
	// PrefetchBytes is about how many bytes are read ahead while the loop body has a batch
	// (maxByteSize in the KCL). The reader asks for one more answer. It asks for as many records
	// as had that size in the last answer, and at least for one. A negative value turns reading
	// ahead off. Defaults to 2 MiB (DefaultPrefetchBytes), which a shard gives in a second; a
	// larger value has no effect. One answer has at most 10 MiB.
	PrefetchBytes int
	// Memory bounds what this and other Fetchers hold together. Defaults to nil: each Fetcher
	// holds up to two answers.
	Memory *Memory
	// CallTimeout is how long one call may bring nothing. Each piece of a large answer starts the
	// time anew. Defaults to 30s (DefaultCallTimeout).
	CallTimeout time.Duration
	// Metrics of the shard; nil counts nothing.
	Metrics *metrics.Shard
	// Observer may be nil.
	Observer kcl.ReadObserver
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

// Validate reports everything that is missing or out of bounds, naming the field.
func (c Config) Validate() error {
	var errs []error
	if c.Client == nil {
		errs = append(errs, errors.New("polling: Config.Client is missing"))
	}
	switch {
	case c.StreamARN == "" && c.StreamName == "":
		errs = append(errs, errors.New("polling: Config.StreamARN and Config.StreamName are missing: set one of them"))
	case c.StreamARN != "":
		if id, err := kcl.ParseStreamARN(c.StreamARN); err != nil {
			errs = append(errs, fmt.Errorf("polling: Config.StreamARN: %w", err))
		} else if c.StreamName != "" && c.StreamName != id.Name {
			errs = append(errs, fmt.Errorf("polling: Config.StreamName %q is not the name in Config.StreamARN %s",
				c.StreamName, c.StreamARN))
		}
	case !kcl.ValidStreamName(c.StreamName):
		errs = append(errs, fmt.Errorf(
			"polling: Config.StreamName %q: want 1 to 128 letters, digits, underscores, dots and hyphens", c.StreamName))
	}
	if c.IdleInterval < 0 {
		errs = append(errs, errors.New("polling: Config.IdleInterval is negative"))
	}
	if c.MaxRecords < 0 || c.MaxRecords > DefaultMaxRecords {
		errs = append(errs, fmt.Errorf("polling: Config.MaxRecords is %d: want 1 to %d, or 0 for the default",
			c.MaxRecords, DefaultMaxRecords))
	}
	if c.CallTimeout < 0 {
		errs = append(errs, errors.New("polling: Config.CallTimeout is negative"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.StreamName = cmp.Or(c.StreamName, c.name()) // some servers for tests know streams only by name
	c.IdleInterval = cmp.Or(c.IdleInterval, DefaultIdleInterval)
	c.MaxRecords = cmp.Or(c.MaxRecords, DefaultMaxRecords)
	c.PrefetchBytes = cmp.Or(c.PrefetchBytes, DefaultPrefetchBytes)
	c.CallTimeout = cmp.Or(c.CallTimeout, DefaultCallTimeout)
	c.Observer = cmp.Or[kcl.ReadObserver](c.Observer, shardread.Unobserved{})
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}

// name is the name of the stream, for the log. The Config must be valid.
func (c Config) name() string {
	if id, err := kcl.ParseStreamARN(c.StreamARN); err == nil {
		return id.Name
	}
	return c.StreamName
}

// resource names the stream in messages.
func (c Config) resource() string {
	if c.StreamARN != "" {
		return c.StreamARN
	}
	return "stream " + c.StreamName
}
