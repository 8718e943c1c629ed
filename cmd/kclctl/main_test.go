package main

import (
	"bytes"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	dynamostore "github.com/kinesis-go/kcl/leases/dynamodb"
)

var update = flag.Bool("update", false, "write the golden files")

// nowhere is a loopback address without a listener.
var nowhere = func() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}()

// TestMain sets the AWS environment that kclctl reads. No test may use the credentials or endpoints
// of the person who runs it.
func TestMain(m *testing.M) {
	flag.Parse()
	renewalTime = 50 * time.Millisecond // no worker renews, or a test renews all the time
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID":           "AKIDEXAMPLE",
		"AWS_SECRET_ACCESS_KEY":       "secret",
		"AWS_SESSION_TOKEN":           "",
		"AWS_REGION":                  "us-east-1",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_PROFILE":                 "",
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_ENDPOINT_URL":            "http://" + nowhere,
		"AWS_ENDPOINT_URL_DYNAMODB":   "",
		"AWS_ENDPOINT_URL_KINESIS":    "",
		"AWS_MAX_ATTEMPTS":            "1",
		"REDIS_URL":                   "",
	} {
		_ = os.Setenv(name, value)
	}
	os.Exit(m.Run())
}

const table = "orders"

// rig is a fake DynamoDB on a loopback port, and a lease table in it.
type rig struct {
	t     *testing.T
	srv   *dynamotest.Server
	url   string
	store *dynamostore.Store
}

func newRig(t *testing.T, rows ...leases.Lease) *rig {
	t.Helper()
	t.Parallel()
	srv := dynamotest.New(dynamotest.Config{PageRows: 3, EmptyPages: true})
	http := httptest.NewServer(srv)
	t.Cleanup(srv.Close)
	t.Cleanup(http.Close)
	r := &rig{t: t, srv: srv, url: http.URL}
	r.store = dynamostore.New(dynamostore.Config{Client: r.client(), Table: table, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, r.store.Init(t.Context()))
	for _, l := range rows {
		require.NoError(t, r.store.Create(t.Context(), l))
	}
	return r
}

func (r *rig) client() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(r.url), Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

// result is the outcome of a command line.
type result struct {
	status      int
	out, errors string
}

// leases runs `kclctl leases ARGS` on the table.
func (r *rig) leases(args ...string) result { return r.answering(strings.NewReader(""), args...) }

func (r *rig) answering(stdin io.Reader, args ...string) result {
	r.t.Helper()
	return kclctl(r.t, stdin, append([]string{"leases", args[0], "-table", table, "-endpoint", r.url}, args[1:]...)...)
}

func kclctl(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	var out, errors bytes.Buffer
	status := run(t.Context(), args, stdin, &out, &errors)
	return result{status, out.String(), errors.String()}
}

func (r *rig) get(key string) leases.Lease {
	r.t.Helper()
	l, err := r.store.Get(r.t.Context(), key)
	require.NoError(r.t, err)
	return l
}

// golden compares got with a file in testdata. With -update it writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run the tests with -update to make it")
	require.Equal(t, string(want), got)
}

const (
	seq1 = "49590338271490256608559692538361571095921575989136588801"
	seq2 = "49590338271490256608559692538361571095921575989136588802"
	half = "170141183460469231731687303715884105727"
	next = "170141183460469231731687303715884105728"
	last = "340282366920938463463374607431768211455"
)

var created = time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)

func lease(key string, change ...func(*leases.Lease)) leases.Lease {
	l := leases.Lease{
		Key: key, ShardID: key, ThroughputKBps: -1, Extension: leases.Extension{StreamCreated: created},
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
	}
	for _, c := range change {
		c(&l)
	}
	return l
}

func at(seq string, sub int64) func(*leases.Lease) {
	return func(l *leases.Lease) {
		l.Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: seq, SubSequenceNumber: sub}
	}
}

func heldBy(owner string, counter int64) func(*leases.Lease) {
	return func(l *leases.Lease) { l.Owner, l.NativeOwner, l.Counter = owner, owner, counter }
}

func covers(start, end string) func(*leases.Lease) {
	return func(l *leases.Lease) { l.HashKeyRange = kcl.HashKeyRange{Start: start, End: end} }
}

// fleet is a table with one row of every state.
func fleet() []leases.Lease {
	return []leases.Lease{
		lease("shardId-000000000000", at(kcl.SentinelShardEnd, 0), heldBy("worker-1", 90), covers("0", half),
			func(l *leases.Lease) {
				l.Children = []string{"shardId-000000000003", "shardId-000000000002"}
			}),
		lease("shardId-000000000001", at(seq1, 3), heldBy("worker-1", 41), covers(next, last), func(l *leases.Lease) {
			l.Pending, l.PendingState, l.ThroughputKBps = kcl.ExtendedSequenceNumber{SequenceNumber: seq2}, []byte("state"), 12.5
		}),
		lease("shardId-000000000002", covers("0", "99"),
			func(l *leases.Lease) { l.Parents = []string{"shardId-000000000000"} }),
		lease("shardId-000000000003", at(seq2, 0), heldBy("worker-2", 7), covers("100", half), func(l *leases.Lease) {
			l.Parents, l.CheckpointOwner = []string{"shardId-000000000000"}, "worker-1"
		}),
	}
}

// makeOld makes a table with the layout of go-kcl.
func (r *rig) makeOld(name string, items ...dynamotest.Item) {
	r.t.Helper()
	r.makeTable(name, "ShardID")
	r.srv.Put(name, items...)
}

// makeTable makes a table with a hash key.
func (r *rig) makeTable(name, key string) {
	r.t.Helper()
	_, err := r.client().CreateTable(r.t.Context(), &dynamodb.CreateTableInput{
		TableName:            &name,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
		BillingMode:          types.BillingModePayPerRequest,
	})
	require.NoError(r.t, err)
}

// poison adds a row that cannot be read.
func (r *rig) poison() {
	r.srv.Put(table, dynamotest.Item{
		"leaseKey": dynamotest.S("shardId-000000000009"), "leaseCounter": dynamotest.S("\x1b[2Jevil"),
		"ownerSwitchesSinceCheckpoint": dynamotest.N("0"), "checkpoint": dynamotest.S("SHARD_END\u202e"),
	})
}
