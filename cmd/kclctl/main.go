// Command kclctl looks at lease tables and repairs them.
//
//	kclctl leases list|show|fleet|audit|release|set-checkpoint|delete|restore|adopt|import|export -table NAME [flags] [KEY...]
//
// It works on any table of this library or of the Java KCL, while workers run. What writes shows first what it would
// change, asks, and then writes only if the owner and the meaning are still as shown; -yes does not ask, -dry-run does
// not write.
// -json prints for programs. `kclctl leases help COMMAND` says more, with examples.
//
// Credentials, region and endpoint are those of the AWS environment (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and so
// on); those of a Redis are in its URL. It ends with status 0, with 1 when something failed, was not confirmed or was found wrong, and with 2 when the
// command line is wrong.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

func main() {
	redis.SetLogger(silent{})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// The exit statuses.
const (
	statusOK     = 0
	statusFailed = 1
	statusUsage  = 2
)

// errReported is a failure that has been told already.
var errReported = errors.New("reported")

// usageError is a mistake on the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// command is one of `kclctl leases`.
type command struct {
	name string
	// args is what comes after the flags, such as KEY...
	args    string
	summary string
	help    string
	// setup adds flags and returns what to do after they have been parsed.
	setup func(*flag.FlagSet) func(context.Context, *terminal, []string) error
}

func commands() []command {
	return []command{
		listCommand, showCommand, fleetCommand, auditCommand,
		releaseCommand, setCheckpointCommand, deleteCommand, restoreCommand, adoptCommand,
		importCommand, exportCommand,
	}
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out := bufio.NewWriter(stdout)
	t := &terminal{in: bufio.NewReader(stdin), out: out, err: stderr}
	err := dispatch(ctx, t, args)
	for _, c := range t.closers {
		_ = c.Close()
	}
	if flushed := out.Flush(); err == nil && flushed != nil {
		err = fmt.Errorf("write to standard output: %w", flushed)
	}
	var usage usageError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &usage):
		t.note("kclctl: %v", err)
		return statusUsage
	case !errors.Is(err, errReported):
		t.note("kclctl: %v", err)
	}
	return statusFailed
}

func dispatch(ctx context.Context, t *terminal, args []string) error {
	if len(args) == 0 {
		return usagef("a command is missing: try `kclctl help`")
	}
	if isHelp(args[0]) {
		overview(t)
		return nil
	}
	if args[0] != "leases" {
		return usagef("unknown command %q: kclctl works on leases, as in `kclctl leases list`", args[0])
	}
	args = args[1:]
	if len(args) == 0 {
		return usagef("a command is missing after leases: try `kclctl help`")
	}
	help := isHelp(args[0])
	if help {
		if args = args[1:]; len(args) == 0 {
			overview(t)
			return nil
		}
	}
	i := slices.IndexFunc(commands(), func(c command) bool { return c.name == args[0] })
	if i < 0 {
		return usagef("unknown command leases %q: try `kclctl help`", args[0])
	}
	c := commands()[i]
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are printed once, by run
	do := c.setup(flags)
	if help {
		explain(t, c, flags)
		return nil
	}
	rest, err := parse(flags, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		explain(t, c, flags)
		return nil
	case err != nil:
		return usageError{err}
	}
	return do(ctx, t, rest)
}

// parse takes flags from before, between and behind the other arguments.
func parse(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		left := flags.Args()
		if len(left) == 0 {
			return rest, nil
		}
		if ended := len(args) - len(left); ended > 0 && args[ended-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

func isHelp(arg string) bool {
	return slices.Contains([]string{"help", "-h", "-help", "--help"}, arg)
}

func overview(t *terminal) {
	t.line("kclctl looks at lease tables and repairs them.\n")
	t.line("usage: kclctl leases COMMAND -table NAME [flags] [arguments]\n")
	for _, c := range commands() {
		t.line("  %-15s %s", c.name, c.summary)
	}
	t.line("\nWhat writes shows first what it would change, asks, and writes only if the owner and the meaning are still as shown.")
	t.line("`kclctl leases help COMMAND` says more, with examples.")
}

func explain(t *terminal, c command, flags *flag.FlagSet) {
	t.line("usage: kclctl leases %s\n", strings.TrimSpace(c.name+" [flags] "+c.args))
	t.text(strings.TrimSpace(c.help) + "\n\nFlags:")
	flags.SetOutput(t.out)
	flags.PrintDefaults()
}
