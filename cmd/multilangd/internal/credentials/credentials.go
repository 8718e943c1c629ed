// Package credentials maps the names of Java credentials providers to those of the AWS SDK for Go.
// A properties file names such providers in AwsCredentialsProvider. The package matches
// AwsCredentialsProviderPropertyValueDecoder of the KCL.
package credentials

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Chain is a list of credentials providers. The first one that has credentials gives them. The zero
// Chain is the default chain of the SDK. A Chain is not changed after [Parse].
type Chain struct {
	links []link
}

// link is one provider of a chain.
type link struct {
	name string // as the file gives it, without its arguments
	open opener
}

// opener makes the provider. base has the region, the default credentials and the HTTP client.
type opener func(ctx context.Context, base aws.Config) (aws.CredentialsProvider, error)

// arguments are the parts of a provider behind its name.
type arguments struct {
	positional []string
	named      map[string]string
}

// kind is what the names of one kind of provider have in common.
type kind struct {
	// usage shows the arguments; empty for none.
	usage string
	// least and most are the numbers of positional arguments.
	least, most int
	// named are the keys that the kind knows.
	named []string
	// open returns an error for arguments that cannot work. The error has no argument in it.
	open func(args arguments) (opener, error)
}

// packages are the packages of the Java classes. A name may be given with or without its package.
var packages = []string{
	"software.amazon.awssdk.auth.credentials.",
	"software.amazon.awssdk.services.sts.auth.",
	"software.amazon.kinesis.multilang.auth.",
	"com.amazonaws.auth.profile.",
	"com.amazonaws.auth.",
}

// kinds has every known class, of the SDK for Java 1 and 2 and of the KCL.
var kinds = map[string]kind{
	"DefaultCredentialsProvider":         defaultKind,
	"DefaultAWSCredentialsProviderChain": defaultKind,

	"EnvironmentVariableCredentialsProvider": environmentKind,

	"SystemPropertyCredentialsProvider":   systemPropertyKind,
	"SystemPropertiesCredentialsProvider": systemPropertyKind,

	"ClasspathPropertiesFileCredentialsProvider": propertiesFileKind,
	"PropertiesFileCredentialsProvider":          propertiesFileKind,

	"ProfileCredentialsProvider": profileKind,

	"ContainerCredentialsProvider":           containerKind,
	"InstanceProfileCredentialsProvider":     instanceKind,
	"EC2ContainerCredentialsProviderWrapper": containerOrInstanceKind,

	"WebIdentityTokenFileCredentialsProvider":    webIdentityKind,
	"WebIdentityTokenCredentialsProvider":        webIdentityKind,
	"StsWebIdentityTokenFileCredentialsProvider": webIdentityKind,

	"StsAssumeRoleCredentialsProvider":           assumeRoleKind,
	"KclStsAssumeRoleCredentialsProvider":        assumeRoleKind,
	"STSAssumeRoleSessionCredentialsProvider":    assumeRoleKind,
	"KclSTSAssumeRoleSessionCredentialsProvider": assumeRoleKind,

	"StaticCredentialsProvider":    staticKind,
	"AWSStaticCredentialsProvider": staticKind,
	"AnonymousCredentialsProvider": anonymousKind,
}

// Names returns the known class names without their packages, sorted.
func Names() []string { return slices.Sorted(maps.Keys(kinds)) }

// Parse reads the value of AwsCredentialsProvider: names of Java classes with commas between them.
// Arguments follow a name, each behind a vertical bar. An argument key=value is a named one. The
// error has all mistakes, and never an argument, which may be a secret.
func Parse(value string) (Chain, error) {
	var c Chain
	var errs []error
	for entry := range strings.SplitSeq(value, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		l, err := parseLink(entry)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.links = append(c.links, l)
	}
	if len(c.links) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no provider is named: use DefaultCredentialsProvider"))
	}
	return c, errors.Join(errs...)
}

func parseLink(entry string) (link, error) {
	parts := strings.Split(entry, "|")
	name := strings.TrimSpace(parts[0])
	k, ok := kinds[shortName(name)]
	if !ok {
		return link{}, fmt.Errorf("unknown provider %q: use one of %s", name, strings.Join(Names(), ", "))
	}
	args := arguments{named: map[string]string{}}
	for _, part := range parts[1:] {
		part = strings.TrimSpace(part)
		key, value, named := strings.Cut(part, "=")
		switch {
		case named && slices.Contains(k.named, key):
			args.named[key] = value
		case named && len(k.named) > 0 && len(args.positional) >= k.least:
			return link{}, fmt.Errorf("%s has an unknown argument %q: use %s", name, key, k.usage)
		default:
			args.positional = append(args.positional, part)
		}
	}
	if n := len(args.positional); n < k.least || n > k.most {
		if k.usage == "" {
			return link{}, fmt.Errorf("%s has %d arguments: it takes none", name, n)
		}
		return link{}, fmt.Errorf("%s has %d arguments: use %s", name, n, k.usage)
	}
	open, err := k.open(args)
	if err != nil {
		return link{}, fmt.Errorf("%s: %w", name, err)
	}
	return link{name: shortName(name), open: open}, nil
}

// shortName removes a known package from the name of a class.
func shortName(name string) string {
	for _, p := range packages {
		if short, ok := strings.CutPrefix(name, p); ok {
			return short
		}
	}
	return name
}

// String returns the names of the providers, without their arguments.
func (c Chain) String() string {
	if len(c.links) == 0 {
		return "DefaultCredentialsProvider"
	}
	names := make([]string, len(c.links))
	for i, l := range c.links {
		names[i] = l.name
	}
	return strings.Join(names, ", ")
}

// Open returns the provider of the chain. base has the region, the HTTP client and the default
// credentials of the SDK. Any goroutine may use the provider.
func (c Chain) Open(ctx context.Context, base aws.Config) (aws.CredentialsProvider, error) {
	if len(c.links) == 0 {
		return base.Credentials, nil
	}
	p := &provider{chain: c}
	for _, l := range c.links {
		one, err := l.open(ctx, base)
		if err != nil {
			return nil, fmt.Errorf("open credentials provider %s: %w", l.name, err)
		}
		p.caches = append(p.caches, aws.NewCredentialsCache(one))
	}
	return p, nil
}

// provider asks the providers of a chain in turn.
type provider struct {
	chain  Chain
	caches []*aws.CredentialsCache
	last   atomic.Int32 // index of the provider that gave credentials last
}

// Retrieve implements [aws.CredentialsProvider]. It begins with the provider that had credentials
// the last time, as Java's chain does.
func (p *provider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	first := int(p.last.Load())
	err := errors.New("no credentials")
	for i := range p.caches {
		at := (first + i) % len(p.caches)
		found, failure := p.caches[at].Retrieve(ctx)
		if failure == nil {
			p.last.Store(int32(at))
			return found, nil
		}
		err = fmt.Errorf("%w; %s: %w", err, p.chain.links[at].name, failure)
	}
	return aws.Credentials{}, err
}
