package redis

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	sdk "github.com/redis/go-redis/v9"
)

// The defaults of Config.
const (
	defaultKeyPrefix      = "kcl"
	defaultRequestTimeout = 3 * time.Second
)

// Config says where the leases of an application are.
type Config struct {
	// Client is a *redis.Client (of one server, or from NewFailoverClient for
	// sentinels) or a *redis.ClusterClient, and is used as it is: addresses,
	// TLS, user and password, database and pool are its options. It may serve
	// other purposes too, and is not closed here. What it logs by itself, about
	// connections, goes where redis.SetLogger says. A *redis.Ring is refused,
	// because it looks for rows on another server when one is down. Required.
	Client sdk.UniversalClient

	// Application is the name of the application, as in the KCL, where it names
	// the lease table. It has 1 to 255 letters, digits, '_', '.' or '-'. Many
	// applications can share a Redis; two must not share a name. Required.
	Application string

	// KeyPrefix starts the names of all keys, for a Redis that holds other data
	// as well. Printable, without braces and spaces. Defaults to kcl.
	KeyPrefix string

	// RequestTimeout bounds every single call, with all that the client does to
	// repeat it. Defaults to 3s. Should be less than a
	// third of the coordinator's FailoverTime, so that a lost answer does not
	// cost a lease. The KCL's dynamoDbRequestTimeout.
	RequestTimeout time.Duration

	// Logger takes the log of the store. Defaults to the logger of the scheduler, or else to
	// slog.Default().
	Logger *slog.Logger
}

var (
	applicationName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,255}$`)
	keyPrefix       = regexp.MustCompile(`^[^{}[:space:][:cntrl:][:^ascii:]]{1,255}$`)
)

// Validate reports everything that is wrong, naming the fields.
func (c Config) Validate() error {
	var problems []error
	switch client := c.Client.(type) {
	case nil:
		problems = append(problems, errors.New("Config.Client is missing: set it to redis.NewClient, redis.NewFailoverClient or redis.NewClusterClient"))
	case *sdk.Ring:
		problems = append(problems, errors.New("Config.Client is a Ring, which moves keys to another server when one is down, and leases would start again there: use a cluster or sentinels"))
	case *sdk.Client:
		problems = append(problems, checkTimeouts(client.Options().ReadTimeout, client.Options().ContextTimeoutEnabled))
	case *sdk.ClusterClient:
		problems = append(problems, checkTimeouts(client.Options().ReadTimeout, client.Options().ContextTimeoutEnabled))
	}
	if !applicationName.MatchString(c.Application) {
		problems = append(problems, fmt.Errorf("Config.Application is %q: a name has 1 to 255 letters, digits, '_', '.' or '-'", c.Application))
	}
	if c.KeyPrefix != "" && !keyPrefix.MatchString(c.KeyPrefix) {
		problems = append(problems, fmt.Errorf("Config.KeyPrefix is %q: a prefix has 1 to 255 printable ASCII characters without braces and spaces", c.KeyPrefix))
	}
	if c.RequestTimeout < 0 {
		problems = append(problems, fmt.Errorf("Config.RequestTimeout is %v: it must not be negative", c.RequestTimeout))
	}
	return errors.Join(problems...)
}

// checkTimeouts refuses a client that could wait for an answer for ever: calls
// would end in time, but their connections would not.
func checkTimeouts(read time.Duration, contexts bool) error {
	if read <= 0 && !contexts {
		return errors.New("Config.Client waits for answers without a limit: set ReadTimeout, or ContextTimeoutEnabled, in its options")
	}
	return nil
}

// String names the application's keys, and nothing of the client.
func (c Config) String() string {
	return fmt.Sprintf("leases/redis.Config{Application: %q, KeyPrefix: %q, RequestTimeout: %v}", c.Application, c.KeyPrefix, c.RequestTimeout)
}

// GoString is [Config.String]: %#v does not look into the client either.
func (c Config) GoString() string { return c.String() }

// LogValue implements [slog.LogValuer] with [Config.String].
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
