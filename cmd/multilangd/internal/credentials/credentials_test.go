package credentials

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"
)

const role = "arn:aws:iam::123456789012:role/reader"

// TestNames: names of the SDK for Java 1 and 2 and of the KCL, with and without their packages.
func TestNames(t *testing.T) {
	t.Parallel()
	const (
		java2 = "software.amazon.awssdk.auth.credentials."
		java1 = "com.amazonaws.auth."
		kcl   = "software.amazon.kinesis.multilang.auth."
	)
	for value, want := range map[string]string{
		"DefaultCredentialsProvider":                                             "DefaultCredentialsProvider",
		"DefaultAWSCredentialsProviderChain":                                     "DefaultAWSCredentialsProviderChain",
		java1 + "DefaultAWSCredentialsProviderChain":                             "DefaultAWSCredentialsProviderChain",
		java2 + "DefaultCredentialsProvider":                                     "DefaultCredentialsProvider",
		java1 + "profile.ProfileCredentialsProvider|test":                        "ProfileCredentialsProvider",
		"InstanceProfileCredentialsProvider":                                     "InstanceProfileCredentialsProvider",
		"ContainerCredentialsProvider":                                           "ContainerCredentialsProvider",
		"WebIdentityTokenFileCredentialsProvider":                                "WebIdentityTokenFileCredentialsProvider",
		"StsAssumeRoleCredentialsProvider|" + role + "|me":                       "StsAssumeRoleCredentialsProvider",
		kcl + "KclStsAssumeRoleCredentialsProvider|" + role + "|me|externalId=x": "KclStsAssumeRoleCredentialsProvider",
		"EnvironmentVariableCredentialsProvider , , DefaultCredentialsProvider": "" +
			"EnvironmentVariableCredentialsProvider, DefaultCredentialsProvider",
	} {
		c, err := Parse(value)
		require.NoError(t, err, value)
		require.Equal(t, want, c.String())
	}
	require.Equal(t, "DefaultCredentialsProvider", Chain{}.String())
}

// TestDocument: docs/multilang.md names every provider that can be used.
func TestDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../../docs/multilang.md")
	require.NoError(t, err)
	arguments := map[string]string{"StsAssume": "|" + role + "|me", "KclS": "|" + role + "|me", "STS": "|" + role + "|me"}
	for _, name := range Names() {
		value := name
		for prefix, args := range arguments {
			if strings.HasPrefix(name, prefix) {
				value += args
			}
		}
		if strings.Contains(name, "Static") {
			value += "|a|b"
		}
		if _, err := Parse(value); err != nil {
			require.ErrorContains(t, err, "which this program does not: use ")
			continue
		}
		require.Regexp(t, "`"+name+"[`\\\\]", string(text))
	}
}

// TestMistakes: an error names the provider and the remedy, and never an argument.
func TestMistakes(t *testing.T) {
	t.Parallel()
	const (
		system = "SystemPropertyCredentialsProvider"
		static = "StaticCredentialsProvider"
		assume = "StsAssumeRoleCredentialsProvider|"
	)
	for value, want := range map[string]string{
		"":                                     "no provider is named: use DefaultCredentialsProvider",
		",":                                    "no provider is named",
		"MyProvider|s3":                        `unknown provider "MyProvider": use one of AWSStaticCredentials`,
		"com.acme.DefaultCredentialsProvider":  `unknown provider "com.acme.DefaultCredentialsProvider"`,
		"DefaultCredentialsProvider|s3":        "DefaultCredentialsProvider has 1 arguments: it takes none",
		system:                                 "reads Java system properties, which this program does not: use AWS_",
		"PropertiesFileCredentialsProvider|s3": "use ~/.aws/credentials with ProfileCredentialsProvider",
		"ProfileCredentialsProvider|a|s3":      "has 2 arguments: use ProfileCredentialsProvider, with |PROFILE",
		static + "|s3":                         "has 1 arguments: use StaticCredentialsProvider|ACCESS_KEY_ID|",
		static + "|s3|":                        "StaticCredentialsProvider: an argument is empty",
		assume + role:                          "has 1 arguments: use StsAssumeRoleCredentialsProvider|ROLE_ARN|SESSION_NAME",
		assume + "s3|me":                       "the first argument is not the ARN of a role, such as arn:aws:iam::",
		assume + role + "|":                    "the name of the session, is empty",
		assume + role + "|m|a=s3":              `has an unknown argument "a": use StsAssumeRole`,
		assume + role + "|m|endpoint=s3":       "endpoint is not of the form URL^REGION",
	} {
		_, err := Parse(value)
		require.ErrorContains(t, err, want, value)
		require.NotContains(t, err.Error(), "s3")
	}
	_, err := Parse("A,DefaultCredentialsProvider,B")
	require.ErrorContains(t, err, `"A"`)
	require.ErrorContains(t, err, `"B"`)
}

// open returns the provider of a value. The default credentials have the key "base".
func open(t *testing.T, value string, base aws.Config) aws.CredentialsProvider {
	t.Helper()
	c, err := Parse(value)
	require.NoError(t, err)
	base.Credentials = credentials.NewStaticCredentialsProvider("base", "secret", "")
	p, err := c.Open(t.Context(), base)
	require.NoError(t, err)
	return p
}

// key returns the access key that a value gives.
func key(t *testing.T, value string) string {
	t.Helper()
	got, err := open(t, value, aws.Config{Region: "eu-west-1"}).Retrieve(t.Context())
	require.NoError(t, err)
	return got.AccessKeyID
}

// clearEnvironment removes the variables that providers read.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
		"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_SESSION_NAME", envContainerPath, envContainerURL,
		envContainerToken, envContainerTokenFile,
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
}

func TestSimpleProviders(t *testing.T) { //nolint:paralleltest // sets variables of the process
	clearEnvironment(t)
	require.Equal(t, "base", key(t, "DefaultCredentialsProvider"))
	require.Equal(t, "AK", key(t, "StaticCredentialsProvider|AK|secret"))
	require.Equal(t, "base", key(t, "EnvironmentVariableCredentialsProvider,DefaultCredentialsProvider"))
	p, err := Chain{}.Open(t.Context(), aws.Config{Credentials: aws.AnonymousCredentials{}})
	require.NoError(t, err)
	require.Equal(t, aws.AnonymousCredentials{}, p)

	t.Setenv("AWS_ACCESS_KEY_ID", "env")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	require.Equal(t, "env", key(t, "EnvironmentVariableCredentialsProvider,DefaultCredentialsProvider"))

	file := filepath.Join(t.TempDir(), "credentials")
	require.NoError(t, os.WriteFile(file, []byte("[default]\naws_access_key_id=one\naws_secret_access_key=s\n"+
		"[test]\naws_access_key_id=two\naws_secret_access_key=s\n"), 0o600))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	require.Equal(t, "one", key(t, "ProfileCredentialsProvider"), "not of the variables")
	require.Equal(t, "two", key(t, "ProfileCredentialsProvider|test"))
	t.Setenv("AWS_PROFILE", "test")
	require.Equal(t, "two", key(t, "ProfileCredentialsProvider"))

	c, err := Parse("ProfileCredentialsProvider|none")
	require.NoError(t, err)
	_, err = c.Open(t.Context(), aws.Config{})
	require.ErrorContains(t, err, "open credentials provider ProfileCredentialsProvider: ")
}

// TestChainWithoutCredentials: the error names each provider of the chain.
func TestChainWithoutCredentials(t *testing.T) { //nolint:paralleltest // sets variables of the process
	clearEnvironment(t)
	p := open(t, "EnvironmentVariableCredentialsProvider,ContainerCredentialsProvider,"+
		"WebIdentityTokenFileCredentialsProvider,InstanceProfileCredentialsProvider", aws.Config{})
	_, err := p.Retrieve(t.Context())
	require.ErrorContains(t, err, "; EnvironmentVariableCredentialsProvider: ")
	require.ErrorContains(t, err, envContainerPath+" and "+envContainerURL+" are not set")
	require.ErrorContains(t, err, "AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE are not set")
	require.ErrorContains(t, err, "InstanceProfileCredentialsProvider: ")
}

// TestChainKeepsTheProvider: the provider that had credentials is asked first the next time.
func TestChainKeepsTheProvider(t *testing.T) {
	t.Parallel()
	asked := [2]int{}
	count := func(i int, err error) aws.CredentialsProvider {
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			asked[i]++
			return aws.Credentials{AccessKeyID: "AK", SecretAccessKey: "s", CanExpire: true}, err
		})
	}
	p := &provider{chain: Chain{links: []link{{name: "a"}, {name: "b"}}}, caches: []*aws.CredentialsCache{
		aws.NewCredentialsCache(count(0, os.ErrNotExist)), aws.NewCredentialsCache(count(1, nil)),
	}}
	for range 3 {
		_, err := p.Retrieve(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, [2]int{1, 3}, asked)
}

func TestContainer(t *testing.T) { //nolint:paralleltest // sets variables of the process
	clearEnvironment(t)
	var token string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token = r.Header.Get("Authorization")
		_, _ = fmt.Fprintf(w, `{"AccessKeyId":"container","SecretAccessKey":"s","Token":"t","Expiration":"%s"}`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer srv.Close()
	t.Setenv(envContainerURL, srv.URL)
	t.Setenv(envContainerToken, "word")
	require.Equal(t, "container", key(t, "ContainerCredentialsProvider"))
	require.Equal(t, "word", token)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("of the file"), 0o600))
	t.Setenv(envContainerTokenFile, file)
	require.Equal(t, "container", key(t, "EC2ContainerCredentialsProviderWrapper"))
	require.Equal(t, "of the file", token)
}

// tokenService is a server that answers as the Security Token Service, with the key "role".
func tokenService(t *testing.T) (endpoint string, last *url.Values, host *string) {
	t.Helper()
	var form url.Values
	var authorization string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		form, authorization = r.PostForm, r.Header.Get("Authorization")
		action := form.Get("Action")
		w.Header().Set("Content-Type", "text/xml")
		_, _ = fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials>`+
			`<AccessKeyId>role</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>`+
			`<Expiration>%[2]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
			action, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(srv.Close)
	return srv.URL, &form, &authorization
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	endpoint, form, authorization := tokenService(t)
	p := open(t, "StsAssumeRoleCredentialsProvider|"+role+"|me|externalId=x=y|endpoint="+endpoint+"^eu-west-2",
		aws.Config{Region: "us-east-1"})
	got, err := p.Retrieve(t.Context())
	require.NoError(t, err)
	require.Equal(t, "role", got.AccessKeyID)
	require.Equal(t, "AssumeRole", form.Get("Action"))
	require.Equal(t, role, form.Get("RoleArn"))
	require.Equal(t, "me", form.Get("RoleSessionName"))
	require.Equal(t, "x=y", form.Get("ExternalId"))
	require.Contains(t, *authorization, "/eu-west-2/sts/")
	require.Contains(t, *authorization, "Credential=base/")

	p = open(t, "StsAssumeRoleCredentialsProvider|"+role+"|me|endpointRegion=eu-west-3",
		aws.Config{Region: "us-east-1", BaseEndpoint: &endpoint})
	_, err = p.Retrieve(t.Context())
	require.NoError(t, err)
	require.Contains(t, *authorization, "/eu-west-3/sts/")
	require.Empty(t, form.Get("ExternalId"))
}

func TestWebIdentity(t *testing.T) { //nolint:paralleltest // sets variables of the process
	clearEnvironment(t)
	endpoint, form, _ := tokenService(t)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("the token"), 0o600))
	t.Setenv("AWS_ROLE_ARN", role)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file)
	p := open(t, "WebIdentityTokenCredentialsProvider", aws.Config{Region: "us-east-1", BaseEndpoint: &endpoint})
	got, err := p.Retrieve(t.Context())
	require.NoError(t, err)
	require.Equal(t, "role", got.AccessKeyID)
	require.Equal(t, "AssumeRoleWithWebIdentity", form.Get("Action"))
	require.Equal(t, "the token", form.Get("WebIdentityToken"))
}
