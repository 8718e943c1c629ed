// Command kclctl looks at lease tables and repairs them.
//
//	kclctl leases COMMAND -table NAME [flags] [KEY...]
//
// The commands are list, show, fleet, audit, release, set-checkpoint, delete, restore, adopt,
// import and export. They work on any table of this library or of the Java KCL, while workers run.
//
// A command that writes first shows the changes and asks. It then writes a row only if the owner
// and the meaning of the change are still as shown. With -yes it does not ask, with -dry-run it
// does not write, and with -json it prints for programs. `kclctl leases help COMMAND` explains a
// command, with examples.
//
// Credentials, region and endpoint are those of the AWS environment (AWS_PROFILE, AWS_REGION,
// AWS_ENDPOINT_URL and so on). The URL of a Redis contains its credentials.
//
// The exit status is 0 after success. It is 1 when a command failed, was not confirmed, or found a
// fault. It is 2 when the command line is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/internal/stopsignal"
)

func main() {
	redis.SetLogger(silent{})
	os.Exit(run(stopsignal.Context(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The exit statuses.
const (
	statusOK     = 0
	statusFailed = 1
	statusUsage  = 2
)

// usageError is a mistake on the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// command is one command of `kclctl leases`.
type command struct {
	name string
	// args are the arguments after the flags, such as KEY...
	args    string
	summary string
	help    string
	// setup adds flags, and returns the action for their values.
	setup func(*flag.FlagSet) action
}

// action runs a command with the arguments that are no flags.
type action func(ctx context.Context, t *terminal.Terminal, args []string) error

func commands() []command {
	return []command{
		listCommand, showCommand, fleetCommand, auditCommand,
		releaseCommand, setCheckpointCommand, deleteCommand, restoreCommand, adoptCommand,
		importCommand, exportCommand,
	}
}

// wholeTable refuses arguments of a command that works on the whole table.
func wholeTable(command string, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q: %s works on the whole table", args[0], command)
	}
	return nil
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	t := terminal.New(stdin, stdout, stderr)
	err := dispatch(ctx, t, args)
	if closed := t.Close(); err == nil {
		err = closed
	}
	var usage usageError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &usage):
		t.Note("kclctl: %v", err)
		return statusUsage
	case !errors.Is(err, terminal.ErrReported):
		t.Note("kclctl: %v", err)
	}
	return statusFailed
}

func dispatch(ctx context.Context, t *terminal.Terminal, args []string) error {
	if len(args) == 0 {
		return usagef("a command is missing: try `kclctl help`")
	}
	if isHelp(args[0]) {
		printOverview(t)
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
			printOverview(t)
			return nil
		}
	}
	i := slices.IndexFunc(commands(), func(c command) bool { return c.name == args[0] })
	if i < 0 {
		return usagef("unknown command leases %q: try `kclctl help`", args[0])
	}
	c := commands()[i]
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error
	act := c.setup(flags)
	if help {
		printHelp(t, c, flags)
		return nil
	}
	rest, err := parse(flags, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		printHelp(t, c, flags)
		return nil
	case err != nil:
		return usageError{err}
	}
	return act(ctx, t, rest)
}

// parse takes flags from before, between and behind the other arguments, and returns these.
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

func printOverview(t *terminal.Terminal) {
	t.Line("kclctl looks at lease tables and repairs them.\n")
	t.Line("usage: kclctl leases COMMAND -table NAME [flags] [arguments]\n")
	for _, c := range commands() {
		t.Line("  %-15s %s", c.name, c.summary)
	}
	t.Line("\nA command that writes first shows the changes and asks. It then writes a row only if the owner\n" +
		"and the meaning of the change are still as shown.")
	t.Line("`kclctl leases help COMMAND` explains a command, with examples.")
}

func printHelp(t *terminal.Terminal, c command, flags *flag.FlagSet) {
	var defaults strings.Builder
	flags.SetOutput(&defaults)
	flags.PrintDefaults()
	t.Line("usage: kclctl leases %s\n", strings.TrimSpace(c.name+" [flags] "+c.args))
	t.Text(strings.TrimSpace(c.help) + "\n\nFlags:\n" + strings.TrimSuffix(defaults.String(), "\n"))
}
