// Command kinesisfake serves a fake Kinesis (package kinesistest) on a port, for clients in any
// language.
//
//	kinesisfake [-listen 127.0.0.1:4567] [-dynamodb] [-tls] [-cert-out FILE]
//		[-stream NAME:SHARDS]... [-limits=true] [-account 000000000000] [-region us-east-1]
//
// With -dynamodb the same port serves a fake DynamoDB as well: tables, items, conditional writes,
// scans, indexes and transactions, as lease tables of this library and of the Java KCL need them.
// A fleet of processes then needs one variable, AWS_ENDPOINT_URL. The fakes keep their state in
// memory only.
//
// Without -tls the port speaks HTTP/1.1 and HTTP/2 with prior knowledge (h2c). With -tls it speaks
// both by ALPN. The server makes a self-signed certificate at its start, and writes it to FILE.
//
// When the server is ready, it prints one line to standard output:
//
//	listening on http://127.0.0.1:4567
//
// Port 0 picks a free port. The exit status is 0 on SIGTERM or SIGINT, 2 after a wrong command
// line, and 1 after any other error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/stopsignal"
	"github.com/kinesis-go/kcl/kinesistest"
)

func main() {
	os.Exit(run(stopsignal.Context(), os.Args[1:], os.Stdout, os.Stderr))
}

// run serves until ctx is done and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "kinesisfake: %v\n", err)
		return 2
	}
	if opts.dynamoDB {
		tables := dynamotest.New(dynamotest.Config{})
		defer tables.Close()
		opts.cfg.Others = tables
	}
	srv, err := kinesistest.Start(opts.cfg)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "kinesisfake: %v\n", err)
		return 1
	}
	defer srv.Close()
	if opts.certOut != "" {
		if err := os.WriteFile(opts.certOut, srv.CertPEM(), 0o600); err != nil {
			_, _ = fmt.Fprintf(stderr, "kinesisfake: write the certificate: %v\n", err)
			return 1
		}
	}
	if _, err := fmt.Fprintf(stdout, "listening on %s\n", srv.URL()); err != nil {
		return 1
	}
	<-ctx.Done()
	return 0
}

// options holds the values of the command line.
type options struct {
	cfg      kinesistest.Config
	dynamoDB bool
	certOut  string
}

func parse(args []string, stderr io.Writer) (options, error) {
	opts := options{cfg: kinesistest.Config{}}
	flags := flag.NewFlagSet("kinesisfake", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error
	flags.StringVar(&opts.cfg.Listen, "listen", "127.0.0.1:4567", "`address` to listen on; port 0 picks a free one")
	flags.BoolVar(&opts.dynamoDB, "dynamodb", false, "serve a fake DynamoDB on the same port, for lease tables")
	flags.BoolVar(&opts.cfg.TLS, "tls", false, "serve HTTPS (HTTP/2 and HTTP/1.1) with a self-signed certificate")
	flags.StringVar(&opts.certOut, "cert-out", "",
		"with -tls, write the certificate to `file` (PEM), for clients to trust")
	limits := flags.Bool("limits", true, "enforce the published rates of the service")
	flags.StringVar(&opts.cfg.AccountID, "account", kinesistest.DefaultAccountID, "account `id` in ARNs, 12 digits")
	flags.StringVar(&opts.cfg.Region, "region", kinesistest.DefaultRegion, "`region` in ARNs")
	flags.Func("stream", "`NAME:SHARDS` of a stream that exists from the start; may be repeated", func(v string) error {
		s, err := parseStream(v)
		opts.cfg.Streams = append(opts.cfg.Streams, s)
		return err
	})
	flags.Usage = func() {}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, _ = fmt.Fprintln(stderr, "kinesisfake serves a fake Kinesis on a port. Flags:")
			flags.SetOutput(stderr)
			flags.PrintDefaults()
		}
		return options{}, err
	}
	opts.cfg.DisableLimits = !*limits
	return opts, opts.check(flags.Args())
}

var (
	accountPattern = regexp.MustCompile(`^\d{12}$`)
	regionPattern  = regexp.MustCompile(`^[a-z0-9-]+$`)
	namePattern    = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)
)

// check reports all mistakes at once.
func (o options) check(rest []string) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(rest) > 0 {
		wrong("unexpected argument %q: give streams as -stream NAME:SHARDS", rest[0])
	}
	if _, _, err := net.SplitHostPort(o.cfg.Listen); err != nil {
		wrong("-listen %q is not host:port, such as 127.0.0.1:4567", o.cfg.Listen)
	}
	if !accountPattern.MatchString(o.cfg.AccountID) {
		wrong("-account %q is not an account id of 12 digits", o.cfg.AccountID)
	}
	if !regionPattern.MatchString(o.cfg.Region) {
		wrong("-region %q is not a region, such as us-east-1", o.cfg.Region)
	}
	if o.certOut != "" && !o.cfg.TLS {
		wrong("-cert-out needs -tls")
	}
	seen := map[string]bool{}
	for _, s := range o.cfg.Streams {
		if seen[s.Name] {
			wrong("-stream %s is given twice", s.Name)
		}
		seen[s.Name] = true
	}
	return errors.Join(errs...)
}

const maxShards = 10000

func parseStream(v string) (kinesistest.StreamConfig, error) {
	name, shards, ok := strings.Cut(v, ":")
	n := 1
	var err error
	if ok {
		n, err = strconv.Atoi(shards)
	}
	switch {
	case !namePattern.MatchString(name):
		return kinesistest.StreamConfig{}, errors.New("want NAME:SHARDS, with a name of 1 to 128 letters, digits, _ . or -")
	case err != nil || n < 1 || n > maxShards:
		return kinesistest.StreamConfig{}, fmt.Errorf("want NAME:SHARDS with 1 to %d shards", maxShards)
	}
	return kinesistest.StreamConfig{Name: name, Shards: n}, nil
}
