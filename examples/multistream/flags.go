package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/examples/internal/cli"
	"github.com/kinesis-go/kcl/scheduler"
)

// flags holds the values of the command line.
type flags struct {
	fake        bool
	application string
	worker      string
	refresh     time.Duration
	tracker     scheduler.StreamTracker
}

func parse(program string, args []string, usage io.Writer) (flags, error) {
	var f flags
	var names []string
	var file string
	var from kcl.InitialPosition
	set := flag.NewFlagSet(program, flag.ContinueOnError)
	set.SetOutput(io.Discard) // the caller prints the error
	set.BoolVar(&f.fake, "fake", false,
		"read a fake Kinesis in memory for half a minute, while streams are added and removed")
	set.Func("stream", "`name` or ARN of a stream to read; may be given several times", func(s string) error {
		names = append(names, s)
		return nil
	})
	set.StringVar(&file, "streams", "", "`file` that names a stream per line, by its name or ARN; read every -refresh")
	cli.Common(set, &f.application, &f.worker, &from)
	set.DurationVar(&f.refresh, "refresh", scheduler.DefaultStreamRefresh, "how often the file is read")
	err := set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(usage,
			"usage: multistream -streams FILE -application NAME [-worker ID] [-from POSITION] [-refresh INTERVAL]\n"+
				"       multistream -stream NAME [-stream NAME]... -application NAME ...\n"+
				"       multistream -fake\n\n")
		set.SetOutput(usage)
		set.PrintDefaults()
		return f, err
	case err != nil:
		return f, err
	case set.NArg() > 0:
		return f, fmt.Errorf("unexpected argument %q: flags look like -stream NAME", set.Arg(0))
	case f.fake:
		return f, nil
	case f.application == "":
		return f, errors.New("-application is missing: give its name")
	case file != "" && len(names) > 0:
		return f, errors.New("-stream and -streams are both given: leave one of them out")
	case file != "":
		f.tracker = fromFile(file, from)
	case len(names) > 0:
		f.tracker = func(context.Context) ([]scheduler.StreamConfig, error) { return streams(names, from), nil }
	default:
		return f, errors.New("-streams is missing: name a file, or streams by -stream NAME")
	}
	return f, nil
}

// fromFile returns a tracker that reads a file.
func fromFile(name string, from kcl.InitialPosition) scheduler.StreamTracker {
	return func(context.Context) ([]scheduler.StreamConfig, error) {
		text, err := os.ReadFile(name) //nolint:gosec // G304: the user names it
		if err != nil {
			return nil, err // the scheduler keeps the previous list
		}
		var names []string
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			if line = strings.TrimSpace(line); line != "" {
				names = append(names, line)
			}
		}
		return streams(names, from), nil
	}
}

// streams returns the configurations of streams with these names or ARNs.
func streams(names []string, from kcl.InitialPosition) []scheduler.StreamConfig {
	var list []scheduler.StreamConfig
	for _, name := range names {
		s := scheduler.StreamConfig{Name: name, InitialPosition: from}
		if strings.HasPrefix(name, "arn:") {
			s.Name, s.ARN = "", name
		}
		list = append(list, s)
	}
	return list
}
