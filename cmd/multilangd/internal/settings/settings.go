// Package settings gives the properties of a MultiLangDaemon their meaning: one table of keys says
// what each key does here. The package matches MultiLangDaemonConfiguration of the KCL.
package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/multilangd/internal/credentials"
	"github.com/kinesis-go/kcl/cmd/multilangd/internal/properties"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// DefaultShutdownGrace is how long a stop may take if the file does not say it.
const DefaultShutdownGrace = 30 * time.Second

// Config is what a properties file says.
type Config struct {
	// Executable is the command of a child: the program and its arguments, at least one element.
	Executable []string
	// Language is processingLanguage, which only the user agent shows.
	Language string
	// Timeout is how long a child may take for an answer. 0 means for ever.
	Timeout time.Duration
	// ShutdownGrace is how long a stop may take. 0 means that the children are killed at once.
	ShutdownGrace time.Duration
	// ExitOnChildFailure means that a child that fails ends the daemon, as in Java. Otherwise only the
	// child is started again.
	ExitOnChildFailure bool
	// MaxRecords is the most records of one call of GetRecords. 0 means no limit.
	MaxRecords int32
	// Region is the region of the clients. Empty means that of the AWS environment.
	Region string
	// Kinesis and DynamoDB are the settings of the two clients.
	Kinesis, DynamoDB Client
	// Scheduler is the configuration of the worker, without clients, lease store, logger and metrics.
	Scheduler scheduler.Config
	// Table is the configuration of the lease table, without its client.
	Table dynamodb.Config
}

// Client is what a file says about one client of AWS.
type Client struct {
	// Endpoint is a URL. Empty means the endpoint of AWS.
	Endpoint string
	// Region replaces Config.Region for this client, unless it is empty.
	Region string
	// Credentials are the credentials providers.
	Credentials credentials.Chain
}

// Report is what an operator should know about a file that has no errors.
type Report struct {
	// Warnings are complete sentences with file and line: unknown keys, keys that are given twice, and
	// characters that are hardly meant.
	Warnings []string
	// WithoutEffect has the keys of the file that are understood and that change nothing here.
	WithoutEffect []WithoutEffect
}

// WithoutEffect is a key that is understood and that changes nothing, with the reason.
type WithoutEffect struct{ Key, Reason string }

// zeroReason is the reason for a key with the value 0 or false that Java ignores.
const zeroReason = "0 and false mean the default, as in the Java daemon"

// Read gives the properties of a file their meaning. The error has all mistakes, each with file,
// line, key, value and remedy.
func Read(file *properties.File) (Config, Report, error) {
	r := reader{file: file, draft: newDraft(), line: map[string]int{}}
	r.report.Warnings = append(r.report.Warnings, file.Warnings...)
	for _, p := range file.Properties {
		r.property(p)
	}
	r.finish()
	return r.draft.Config, r.report, errors.Join(r.errs...)
}

// draft is a Config in the making, with values that are interpreted together at the end.
type draft struct {
	Config

	streamName, streamARN   string
	streamNames, streamARNs []string
	consumerName            string
	consumerARN             string

	position kcl.PositionKind
	since    time.Time // initialPositionInStreamExtended; zero if not given

	mode    string // retrievalMode
	polling bool   // a key of polling is set

	handOver time.Duration // gracefulLeaseHandoffTimeoutMillis

	dynamoDBCredentials bool // AwsCredentialsProviderDynamoDB is given
}

func newDraft() *draft {
	d := &draft{position: kcl.Latest, mode: modeDefault, handOver: DefaultShutdownGrace}
	d.ShutdownGrace = DefaultShutdownGrace
	d.Scheduler.PollingIdleInterval = 1500 * time.Millisecond // as in Java
	return d
}

// reader reads one file.
type reader struct {
	file   *properties.File
	draft  *draft
	report Report
	line   map[string]int // of each key that was given with a value that counts, by its name in the table
	errs   []error
}

// bad records a mistake in the value of a key.
func (r *reader) bad(key, value string, err error) {
	where := r.file.Name
	if line := r.line[key]; line > 0 {
		where = fmt.Sprintf("%s:%d", where, line)
	}
	if secret(key) || value == "" {
		r.errs = append(r.errs, fmt.Errorf("%s: %s: %w", where, key, err))
		return
	}
	r.errs = append(r.errs, fmt.Errorf("%s: %s = %s: %w", where, key, shown(value), err))
}

// shown returns a text for one line of an error: in quotes if it has control characters.
func shown(text string) string {
	if strings.ContainsFunc(text, unicode.IsControl) {
		return strconv.Quote(text)
	}
	return text
}

// missing records that a required key is missing.
func (r *reader) missing(key, remedy string) {
	r.errs = append(r.errs, fmt.Errorf("%s: %s is missing: %s", r.file.Name, key, remedy))
}

// secret tells whether the value of a key may hold a secret.
func secret(key string) bool { return strings.HasPrefix(key, providerKey) }

// property reads one property.
func (r *reader) property(p properties.Property) {
	k, ok := find(p.Key)
	if !ok {
		text := fmt.Sprintf("%s:%d: unknown key %s has no effect", r.file.Name, p.Line, shown(p.Key))
		if near := nearest(p.Key); near != "" {
			text += ": did you mean " + near + "?"
		}
		r.report.Warnings = append(r.report.Warnings, text)
		return
	}
	name := k.name
	if strings.HasSuffix(name, anyName) {
		name = p.Key
	}
	if before := r.line[name]; before > 0 && name != p.Key {
		r.report.Warnings = append(r.report.Warnings, fmt.Sprintf(
			"%s:%d: %s is another name of %s in line %d, which it replaces", r.file.Name, p.Line, p.Key, name, before))
	}
	r.line[name] = p.Line
	text := strings.TrimFunc(p.Value, func(c rune) bool { return c <= ' ' }) // as String.trim in Java
	zero, err := k.value.read(r.draft, text)
	reason := k.reason
	switch unset := zero && !k.boxed; {
	case unset && reason == "":
		reason = zeroReason
		delete(r.line, name)
	case !unset && err != nil:
		r.bad(name, text, err)
		return
	case !unset && k.polling:
		r.draft.polling = true
	}
	if reason != "" {
		r.report.WithoutEffect = append(r.report.WithoutEffect, WithoutEffect{name, reason})
	}
}
