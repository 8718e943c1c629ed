package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if os.Getenv("KINESISFAKE_TEST_MAIN") != "" { // a test runs this binary as the command
		main()
		return
	}
	os.Exit(m.Run())
}

// start runs the command, and returns its endpoint and the process.
func start(t *testing.T, args ...string) (url string, cmd *exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd = exec.CommandContext(t.Context(), self, append([]string{"-listen", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), "KINESISFAKE_TEST_MAIN=1")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	return url, cmd
}

// TestEndToEnd runs the command in a process of its own. Over each transport it puts a record,
// reads it with SubscribeToShard, and stops the process with a signal.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		tls, http2 bool
		signal     os.Signal
	}{
		"http1":    {signal: syscall.SIGTERM},
		"h2c":      {http2: true, signal: os.Interrupt},
		"tls":      {tls: true, http2: true, signal: syscall.SIGTERM},
		"tlsHTTP1": {tls: true, signal: os.Interrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"-stream", "orders:2", "-stream", "other", "-account", "123456789012", "-region", "eu-west-1"}
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP1(!tc.http2)
			transport.Protocols.SetHTTP2(tc.http2)
			transport.Protocols.SetUnencryptedHTTP2(tc.http2)
			cert := filepath.Join(t.TempDir(), "cert.pem")
			if tc.tls {
				args = append(args, "-tls", "-cert-out", cert)
			}
			url, cmd := start(t, args...)
			require.True(t, strings.HasPrefix(url,
				map[bool]string{false: "http://127.0.0.1:", true: "https://127.0.0.1:"}[tc.tls]), url)
			if tc.tls {
				pem, err := os.ReadFile(cert)
				require.NoError(t, err)
				roots := x509.NewCertPool()
				require.True(t, roots.AppendCertsFromPEM(pem))
				transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
			}
			client := kinesis.New(kinesis.Options{
				BaseEndpoint: &url, Region: "eu-west-1", HTTPClient: &http.Client{Transport: transport},
				Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
			})
			readOne(t, client)

			require.NoError(t, cmd.Process.Signal(tc.signal))
			require.NoError(t, cmd.Wait(), "exit status 0")
		})
	}
}

func readOne(t *testing.T, client *kinesis.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stream := "orders"
	summary, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:kinesis:eu-west-1:123456789012:stream/orders", *summary.StreamDescriptionSummary.StreamARN)
	require.EqualValues(t, 2, *summary.StreamDescriptionSummary.OpenShardCount)
	put, err := client.PutRecord(ctx, &kinesis.PutRecordInput{
		StreamName: &stream, PartitionKey: aws.String("k"), Data: []byte("hello"),
	})
	require.NoError(t, err)

	registered, err := client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{
		StreamARN: summary.StreamDescriptionSummary.StreamARN, ConsumerName: aws.String("app"),
	})
	require.NoError(t, err)
	consumer := registered.Consumer.ConsumerARN
	for {
		d, err := client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: consumer})
		require.NoError(t, err)
		if d.ConsumerDescription.ConsumerStatus == types.ConsumerStatusActive {
			break
		}
	}
	out, err := client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: consumer, ShardId: put.ShardId,
		StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, out.GetStream().Close()) }()
	for event := range out.GetStream().Events() {
		e, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
		require.True(t, ok)
		if len(e.Value.Records) > 0 {
			require.Equal(t, "hello", string(e.Value.Records[0].Data))
			return
		}
	}
	require.NoError(t, out.GetStream().Err())
	require.Fail(t, "the stream ended without the record")
}

// TestDynamoDBOnTheSamePort makes a table, writes a row and reads it back, in a process that serves
// Kinesis too.
func TestDynamoDBOnTheSamePort(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"with":    {"-dynamodb", "-stream", "orders"},
		"without": {"-stream", "orders"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, cmd := start(t, args...)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			who := credentials.NewStaticCredentialsProvider("id", "secret", "")
			streams := kinesis.New(kinesis.Options{BaseEndpoint: &url, Region: "us-east-1", Credentials: who})
			tables := dynamodb.New(dynamodb.Options{BaseEndpoint: &url, Region: "us-east-1", Credentials: who})
			_, err := streams.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("orders")})
			require.NoError(t, err)

			_, err = tables.CreateTable(ctx, &dynamodb.CreateTableInput{
				TableName: aws.String("orders"), BillingMode: dynamotypes.BillingModePayPerRequest,
				KeySchema: []dynamotypes.KeySchemaElement{
					{AttributeName: aws.String("leaseKey"), KeyType: dynamotypes.KeyTypeHash},
				},
				AttributeDefinitions: []dynamotypes.AttributeDefinition{
					{AttributeName: aws.String("leaseKey"), AttributeType: dynamotypes.ScalarAttributeTypeS},
				},
			})
			if name == "without" {
				require.ErrorContains(t, err, "UnknownOperationException")
				return
			}
			require.NoError(t, err)
			row := map[string]dynamotypes.AttributeValue{
				"leaseKey":     &dynamotypes.AttributeValueMemberS{Value: "shardId-000000000000"},
				"leaseCounter": &dynamotypes.AttributeValueMemberN{Value: "7"},
			}
			_, err = tables.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("orders"), Item: row})
			require.NoError(t, err)
			got, err := tables.GetItem(ctx, &dynamodb.GetItemInput{
				TableName: aws.String("orders"), Key: map[string]dynamotypes.AttributeValue{"leaseKey": row["leaseKey"]},
				ConsistentRead: aws.Bool(true),
			})
			require.NoError(t, err)
			require.Equal(t, row, got.Item)

			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			require.NoError(t, cmd.Wait(), "exit status 0")
		})
	}
}

func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"flag":     {[]string{"-nope"}, []string{"-nope"}},
		"argument": {[]string{"orders:2"}, []string{`unexpected argument "orders:2"`, "-stream NAME:SHARDS"}},
		"shards":   {[]string{"-stream", "orders:0"}, []string{"orders:0", "1 to 10000 shards"}},
		"number":   {[]string{"-stream", "orders:many"}, []string{"orders:many", "1 to 10000 shards"}},
		"name":     {[]string{"-stream", "or/ders:1"}, []string{"or/ders", "letters, digits"}},
		"twice":    {[]string{"-stream", "a:1", "-stream", "a:2"}, []string{"-stream a is given twice"}},
		"several": {
			[]string{"-account", "12", "-region", "EU", "-listen", "4567"},
			[]string{"-account", "-region", "-listen"},
		},
		"cert": {[]string{"-cert-out", "x"}, []string{"-cert-out needs -tls"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			require.Equal(t, 2, run(t.Context(), tc.args, &stdout, &stderr))
			require.Empty(t, stdout.String())
			for _, want := range tc.want {
				require.Contains(t, stderr.String(), want)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	url, _ := start(t)
	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-listen", strings.TrimPrefix(url, "http://")}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "address already in use")
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, run(t.Context(), []string{"-h"}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "-stream NAME:SHARDS")
}
