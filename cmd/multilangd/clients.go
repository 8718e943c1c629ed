package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/kinesis-go/kcl/cmd/multilangd/internal/credentials"
	"github.com/kinesis-go/kcl/cmd/multilangd/internal/settings"
)

// The product of the Java daemon in the user agent.
const (
	agentName    = "amazon-kinesis-multi-lang-daemon"
	agentVersion = "1.0.1"
)

// clients are the clients of the services.
type clients struct {
	kinesis  *kinesis.Client
	dynamoDB *dynamodb.Client
	aws      aws.Config // that of Kinesis
}

// newClients makes the clients. It may read the AWS environment and files, and sends no request.
func newClients(ctx context.Context, cfg settings.Config, log *slog.Logger) (clients, error) {
	base, err := config.LoadDefaultConfig(ctx, config.WithRegion(cfg.Region), config.WithLogger(sdkLogger(log)),
		config.WithAPIOptions(userAgent(cfg.Language, cfg.Executable[0])))
	if err != nil {
		return clients{}, fmt.Errorf("read the AWS environment: %w", err)
	}
	forKinesis, err := configFor(ctx, base, cfg.Kinesis)
	if err != nil {
		return clients{}, fmt.Errorf("client of Kinesis: %w", err)
	}
	forDynamoDB, err := configFor(ctx, base, cfg.DynamoDB)
	if err != nil {
		return clients{}, fmt.Errorf("client of DynamoDB: %w", err)
	}
	return clients{
		kinesis: kinesis.NewFromConfig(forKinesis, func(o *kinesis.Options) {
			o.BaseEndpoint = cmp.Or(endpoint(cfg.Kinesis), o.BaseEndpoint)
			if cfg.MaxRecords > 0 {
				o.APIOptions = append(o.APIOptions, limitRecords(cfg.MaxRecords))
			}
		}),
		dynamoDB: dynamodb.NewFromConfig(forDynamoDB, func(o *dynamodb.Options) {
			o.BaseEndpoint = cmp.Or(endpoint(cfg.DynamoDB), o.BaseEndpoint)
			o.DisableValidateResponseChecksum = o.BaseEndpoint != nil // DynamoDB Local sends wrong checksums
		}),
		aws: forKinesis,
	}, nil
}

// sdkLogger writes the messages of the SDK to log. Without it the SDK writes to standard error, in
// a form of its own.
func sdkLogger(log *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(class logging.Classification, format string, args ...any) {
		level := slog.LevelDebug
		if class == logging.Warn {
			level = slog.LevelWarn
		}
		text := slog.String("text", fmt.Sprintf(format, args...))
		log.LogAttrs(context.Background(), level, "message of the AWS SDK", text)
	})
}

// configFor is the configuration of one client.
func configFor(ctx context.Context, base aws.Config, c settings.Client) (aws.Config, error) {
	out := base.Copy()
	out.Region = cmp.Or(c.Region, out.Region)
	if out.Region == "" {
		return out, errors.New("no region: set regionName in the properties file, or AWS_REGION")
	}
	var err error
	out.Credentials, err = openCredentials(ctx, c.Credentials, out)
	return out, err
}

func openCredentials(ctx context.Context, chain credentials.Chain, base aws.Config) (aws.CredentialsProvider, error) {
	provider, err := chain.Open(ctx, base)
	if err != nil {
		return nil, err
	}
	return aws.NewCredentialsCache(provider), nil
}

// limitRecords lets no call of GetRecords ask for more than most records (maxRecords).
func limitRecords(most int32) func(*middleware.Stack) error {
	limit := func(
		ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		if get, ok := in.Parameters.(*kinesis.GetRecordsInput); ok && (get.Limit == nil || *get.Limit > most) {
			limited := *get
			limited.Limit = &most
			in.Parameters = &limited
		}
		return next.HandleInitialize(ctx, in)
	}
	return func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("limitRecords", limit), middleware.Before)
	}
}

// endpoint returns nil for the endpoint of AWS.
func endpoint(c settings.Client) *string {
	if c.Endpoint == "" {
		return nil
	}
	return &c.Endpoint
}

// userAgent names the daemon as the Java daemon does, with the language and the program.
func userAgent(language, program string) []func(*middleware.Stack) error {
	options := []func(*middleware.Stack) error{awsmiddleware.AddUserAgentKeyValue(agentName, agentVersion)}
	for _, word := range []string{language, filepath.Base(program)} {
		if word != "" {
			options = append(options, awsmiddleware.AddUserAgentKey(word))
		}
	}
	return options
}
