package credentials

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// simple is a kind without arguments.
func simple(open opener) kind {
	return kind{open: func(arguments) (opener, error) { return open, nil }}
}

// javaOnly is a kind that exists in Java alone. source is where it looks. instead is the remedy.
func javaOnly(source, instead string) kind {
	return kind{most: 2, open: func(arguments) (opener, error) {
		return nil, fmt.Errorf("reads %s, which this program does not: use %s", source, instead)
	}}
}

var systemPropertyKind = javaOnly("Java system properties",
	"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY with EnvironmentVariableCredentialsProvider")

var propertiesFileKind = javaOnly("a file in a form of the SDK for Java",
	"~/.aws/credentials with ProfileCredentialsProvider")

var defaultKind = simple(func(_ context.Context, base aws.Config) (aws.CredentialsProvider, error) {
	return base.Credentials, nil
})

var environmentKind = simple(func(context.Context, aws.Config) (aws.CredentialsProvider, error) {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		env, err := config.NewEnvConfig()
		switch {
		case err != nil:
			return aws.Credentials{}, err
		case !env.Credentials.HasKeys():
			return aws.Credentials{}, errors.New("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")
		}
		return env.Credentials, nil
	}), nil
})

var anonymousKind = simple(func(context.Context, aws.Config) (aws.CredentialsProvider, error) {
	return aws.AnonymousCredentials{}, nil
})

var staticKind = kind{
	usage: "StaticCredentialsProvider|ACCESS_KEY_ID|SECRET_ACCESS_KEY, with |SESSION_TOKEN for temporary keys",
	least: 2, most: 3,
	open: func(args arguments) (opener, error) {
		values := append(args.positional, "")
		if values[0] == "" || values[1] == "" {
			return nil, errors.New("an argument is empty")
		}
		return func(context.Context, aws.Config) (aws.CredentialsProvider, error) {
			return credentials.NewStaticCredentialsProvider(values[0], values[1], values[2]), nil
		}, nil
	},
}

var profileKind = kind{
	usage: "ProfileCredentialsProvider, with |PROFILE for another profile than AWS_PROFILE",
	most:  1,
	open: func(args arguments) (opener, error) {
		profile := ""
		if len(args.positional) > 0 {
			profile = args.positional[0]
		}
		return func(ctx context.Context, base aws.Config) (aws.CredentialsProvider, error) {
			name := cmp.Or(profile, os.Getenv("AWS_PROFILE"), "default")
			loaded, err := config.LoadDefaultConfig(ctx, config.WithSharedConfigProfile(name),
				config.WithRegion(base.Region), config.WithHTTPClient(base.HTTPClient))
			if err != nil {
				return nil, err
			}
			return loaded.Credentials, nil
		}, nil
	},
}

var containerKind = simple(func(context.Context, aws.Config) (aws.CredentialsProvider, error) {
	return containerProvider()
})

var instanceKind = simple(func(context.Context, aws.Config) (aws.CredentialsProvider, error) {
	return ec2rolecreds.New(), nil
})

// containerOrInstanceKind looks for a container's credentials if the environment names their
// address, and for those of the instance otherwise.
var containerOrInstanceKind = simple(func(context.Context, aws.Config) (aws.CredentialsProvider, error) {
	if os.Getenv(envContainerPath) != "" || os.Getenv(envContainerURL) != "" {
		return containerProvider()
	}
	return ec2rolecreds.New(), nil
})

// The variables in which Amazon ECS and EKS say where a container gets its credentials.
const (
	envContainerPath      = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
	envContainerURL       = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
	envContainerToken     = "AWS_CONTAINER_AUTHORIZATION_TOKEN"      //nolint:gosec // G101: the name of a variable
	envContainerTokenFile = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" //nolint:gosec // G101: the name of a variable

	containerHost = "http://169.254.170.2"
)

func containerProvider() (aws.CredentialsProvider, error) {
	endpoint := os.Getenv(envContainerURL)
	if path := os.Getenv(envContainerPath); path != "" {
		endpoint = containerHost + path
	}
	if endpoint == "" {
		return unavailable(envContainerPath + " and " + envContainerURL + " are not set"), nil
	}
	return endpointcreds.New(endpoint, func(o *endpointcreds.Options) {
		o.AuthorizationToken = os.Getenv(envContainerToken)
		if file := os.Getenv(envContainerTokenFile); file != "" {
			o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
				token, err := os.ReadFile(file) //nolint:gosec // G304, G703: the platform names the file
				return string(token), err
			})
		}
	}), nil
}

// unavailable has no credentials, so that the next provider of the chain is asked.
func unavailable(reason string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New(reason)
	})
}

var webIdentityKind = simple(func(_ context.Context, base aws.Config) (aws.CredentialsProvider, error) {
	role, file := os.Getenv("AWS_ROLE_ARN"), os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE")
	if role == "" || file == "" {
		return unavailable("AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE are not set"), nil
	}
	return stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(base), role, stscreds.IdentityTokenFile(file),
		func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = os.Getenv("AWS_ROLE_SESSION_NAME") }), nil
})

var assumeRoleKind = kind{
	usage: "StsAssumeRoleCredentialsProvider|ROLE_ARN|SESSION_NAME, with |externalId=ID, |endpointRegion=REGION " +
		"or |endpoint=URL^REGION",
	least: 2, most: 2,
	named: []string{"externalId", "endpointRegion", "endpoint"},
	open:  assumeRole,
}

// assumeRole asks STS for the credentials of a role, with the default credentials of the SDK.
func assumeRole(args arguments) (opener, error) {
	role, session := args.positional[0], args.positional[1]
	if parsed, err := arn.Parse(role); err != nil || parsed.Service != "iam" {
		return nil, errors.New("the first argument is not the ARN of a role, such as arn:aws:iam::123456789012:role/reader")
	}
	if session == "" {
		return nil, errors.New("the second argument, the name of the session, is empty")
	}
	region := args.named["endpointRegion"]
	var endpoint *string
	if text := args.named["endpoint"]; text != "" {
		host, signing, ok := strings.Cut(text, "^")
		if !ok || host == "" || signing == "" {
			return nil, errors.New("endpoint is not of the form URL^REGION")
		}
		if !strings.HasPrefix(host, "http://") && !strings.HasPrefix(host, "https://") {
			host = "https://" + host
		}
		if u, err := url.Parse(host); err != nil || u.Host == "" {
			return nil, errors.New("endpoint is not of the form URL^REGION")
		}
		endpoint, region = &host, signing
	}
	return func(_ context.Context, base aws.Config) (aws.CredentialsProvider, error) {
		client := sts.NewFromConfig(base, func(o *sts.Options) {
			o.Region = cmp.Or(region, o.Region)
			if endpoint != nil {
				o.BaseEndpoint = endpoint
			}
		})
		return stscreds.NewAssumeRoleProvider(client, role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = session
			if id := args.named["externalId"]; id != "" {
				o.ExternalID = &id
			}
		}), nil
	}, nil
}
