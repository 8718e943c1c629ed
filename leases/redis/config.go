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
	// Client is a *redis.Client (of one server, or from NewFailoverClient for sentinels) or a
	// *redis.ClusterClient. Its options are addresses, TLS, user and password, database and pool. It
	// may serve other purposes too. The store does not close it. What it logs by itself, about
	// connections, goes to the logger of redis.SetLogger. A *redis.Ring is refused, because it looks
	// for rows on another server when one is down. Required.
	Client sdk.UniversalClient

	// Application is the name of the application. In the KCL it names the lease table. It has 1 to 255
	// letters, digits, '_', '.' or '-'. Many applications can share a Redis, and each needs a name of
	// its own. Required.
	Application string

	// KeyPrefix begins the names of all keys, for a Redis that holds other data as well. It is
	// printable, without braces and spaces. Defaults to kcl.
	KeyPrefix string

	// RequestTimeout bounds each call, with the client's repetitions. Defaults to 3s. It should be
	// less than a third of the FailoverTime of the scheduler, so that a lost answer does not cost a
	// lease. The KCL's dynamoDbRequestTimeout.
	RequestTimeout time.Duration

	// Logger takes the log of the store. Defaults to the logger of the scheduler, or else to
	// slog.Default().
	Logger *slog.Logger
}

var (
	applicationName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,255}$`)
	keyPrefix       = regexp.MustCompile(`^[^{}[:space:][:cntrl:][:^ascii:]]{1,255}$`)
)

// Validate reports every problem at once, by field.
func (c Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf("Config."+format, args...)) }
	endless := func(readTimeout time.Duration, contextTimeouts bool) bool {
		return readTimeout <= 0 && !contextTimeouts
	}
	waits := false // for an answer without a limit, which keeps a connection for ever
	switch client := c.Client.(type) {
	case nil:
		bad("Client is missing: set it to redis.NewClient, redis.NewFailoverClient or redis.NewClusterClient")
	case *sdk.Ring:
		bad("Client is a Ring, which moves keys to another server when one is down, " +
			"and leases would start again there: use a cluster or sentinels")
	case *sdk.Client:
		waits = endless(client.Options().ReadTimeout, client.Options().ContextTimeoutEnabled)
	case *sdk.ClusterClient:
		waits = endless(client.Options().ReadTimeout, client.Options().ContextTimeoutEnabled)
	}
	if waits {
		bad("Client waits for answers without a limit: set ReadTimeout, or ContextTimeoutEnabled, in its options")
	}
	if !applicationName.MatchString(c.Application) {
		bad("Application is %q: a name has 1 to 255 letters, digits, '_', '.' or '-'", c.Application)
	}
	if c.KeyPrefix != "" && !keyPrefix.MatchString(c.KeyPrefix) {
		bad("KeyPrefix is %q: a prefix has 1 to 255 printable ASCII characters without braces and spaces", c.KeyPrefix)
	}
	if c.RequestTimeout < 0 {
		bad("RequestTimeout is %v: it must not be negative", c.RequestTimeout)
	}
	return errors.Join(problems...)
}

// String returns the fields that name the keys, and nothing of the client: its options hold the
// password.
func (c Config) String() string {
	return fmt.Sprintf("leases/redis.Config{Application: %q, KeyPrefix: %q, RequestTimeout: %v}",
		c.Application, c.KeyPrefix, c.RequestTimeout)
}

// GoString is [Config.String], so that %#v shows nothing of the client.
func (c Config) GoString() string { return c.String() }

// LogValue implements [slog.LogValuer] with [Config.String].
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
