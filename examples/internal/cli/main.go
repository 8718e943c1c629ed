// Package cli is the part that the examples efo, polling and multistream share: the main
// function, the command line, the AWS configuration, the log, and a processor that prints
// records as JSON lines.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/lmittmann/tint"

	"github.com/kinesis-go/kcl/internal/stopsignal"
)

// Main is the main function of an example. It parses the command line and calls run with a
// context that SIGINT or SIGTERM ends. A second signal ends the process at once. The exit status
// is 2 after a mistake in the command line, and 1 after an error of run.
func Main[F any](
	program string,
	parse func(program string, args []string, usage io.Writer) (F, error),
	run func(context.Context, F, io.Writer, *slog.Logger) error,
) {
	flags, err := parse(program, os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "%s: %v\ntry %s -h\n", program, err, program)
		os.Exit(2)
	}
	ctx := stopsignal.Context()
	log := Logger(os.Stderr)
	if err := run(ctx, flags, os.Stdout, log); err != nil {
		log.Error("stopped by an error", tint.Err(err))
		os.Exit(1)
	}
}

// LoadAWS loads the AWS configuration from the environment. Without a region it returns an error.
func LoadAWS(ctx context.Context) (aws.Config, error) {
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return aws.Config{}, fmt.Errorf("load the AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		return aws.Config{}, errors.New("no AWS region: set AWS_REGION, or region in the profile")
	}
	return loaded, nil
}
