package scheduler_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/scheduler"
)

func valid() scheduler.Config {
	return scheduler.Config{
		Application: "app",
		Streams:     []scheduler.StreamConfig{{Name: "orders"}},
		Kinesis:     kinesis.New(kinesis.Options{Region: "eu-west-1"}),
		Leases:      memory.New(),
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	require.NoError(t, valid().Validate())
	const arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
	stream := func(s scheduler.StreamConfig) func(*scheduler.Config) {
		return func(c *scheduler.Config) { c.Streams = []scheduler.StreamConfig{s} }
	}
	for name, tc := range map[string]struct {
		change func(*scheduler.Config)
		want   []string // all of them
	}{
		"application missing": {func(c *scheduler.Config) { c.Application = "" }, []string{"Config.Application is missing"}},
		"application invalid": {
			func(c *scheduler.Config) { c.Application = "a b" },
			[]string{`Config.Application is "a b"`, "letters, digits"},
		},
		"polling interval": {
			func(c *scheduler.Config) { c.PollingIdleInterval = 2 * time.Minute },
			[]string{"Config.PollingIdleInterval is 2m0s: use at most 1m"},
		},
		"worker id": {
			func(c *scheduler.Config) { c.WorkerID = "a\nb" },
			[]string{"Config.WorkerID", "control characters"},
		},
		"client missing": {func(c *scheduler.Config) { c.Kinesis = nil }, []string{"Config.Kinesis is missing"}},
		"no region": {
			func(c *scheduler.Config) { c.Kinesis = kinesis.New(kinesis.Options{}) },
			[]string{"Config.Kinesis has no Region", "AWS_REGION"},
		},
		"endpoint without scheme": {func(c *scheduler.Config) {
			c.Kinesis = kinesis.New(kinesis.Options{Region: "eu-west-1", BaseEndpoint: aws.String("localhost:4566")})
		}, []string{`Config.Kinesis has BaseEndpoint "localhost:4566"`, "http://"}},
		"table name of two letters": {func(c *scheduler.Config) {
			c.Leases = dynamodb.New(dynamodb.Config{Table: "ab", Client: sdk.New(sdk.Options{})})
		}, []string{"Config.Leases: leases/dynamodb", `Config.Table is "ab"`, "3 to 255 letters"}},
		"table without a client": {
			func(c *scheduler.Config) { c.Leases = dynamodb.New(dynamodb.Config{Table: "app"}) },
			[]string{"Config.Leases: leases/dynamodb", "Config.Client is missing"},
		},
		"endpoint of the table without scheme": {func(c *scheduler.Config) {
			c.Leases = dynamodb.New(dynamodb.Config{
				Table:  "app",
				Client: sdk.New(sdk.Options{BaseEndpoint: aws.String("localhost:8000")}),
			})
		}, []string{"Config.Leases: leases/dynamodb", `BaseEndpoint "localhost:8000"`}},
		"nil store": {
			func(c *scheduler.Config) { c.Leases = (*dynamodb.Store)(nil) },
			[]string{"Config.Leases: leases/dynamodb: the store is nil"},
		},
		"store missing": {
			func(c *scheduler.Config) { c.Leases = nil },
			[]string{"Config.Leases is missing", "memory.New()"},
		},
		"no streams": {func(c *scheduler.Config) { c.Streams = nil }, []string{"Config.Streams is empty"}},
		"mode": {
			func(c *scheduler.Config) { c.RetrievalMode = 7 },
			[]string{"Config.RetrievalMode is 7", "scheduler.Polling"},
		},
		"fallback": {
			func(c *scheduler.Config) { c.Fallback = 2 },
			[]string{"Config.Fallback is 2", "scheduler.FallbackOff"},
		},
		"fallback after": {
			func(c *scheduler.Config) { c.FallbackAfter = time.Second },
			[]string{"Config.FallbackAfter is 1s", "at least 10s"},
		},
		"aggregates": {
			func(c *scheduler.Config) { c.Aggregates = 3 },
			[]string{"Config.Aggregates is 3", "scheduler.SplitAggregates,"},
		},
		"failover time": {
			func(c *scheduler.Config) { c.FailoverTime = time.Millisecond },
			[]string{"Config.FailoverTime is 1ms", "at least 1s"},
		},
		"negative failover time": {
			func(c *scheduler.Config) { c.FailoverTime = -time.Second },
			[]string{"Config.FailoverTime is -1s"},
		},
		"shutdown timeout": {func(c *scheduler.Config) { c.ShutdownTimeout = -1 }, []string{"Config.ShutdownTimeout"}},
		"stall timeout": {
			func(c *scheduler.Config) { c.StallTimeout = time.Second },
			[]string{"Config.StallTimeout is 1s", "at least 10s"},
		},
		"sync interval": {
			func(c *scheduler.Config) { c.ShardSyncInterval = time.Millisecond },
			[]string{"Config.ShardSyncInterval"},
		},
		"checkpoint interval": {
			func(c *scheduler.Config) { c.CheckpointInterval = -time.Second },
			[]string{"Config.CheckpointInterval is -1s"},
		},
		"epoch": {
			func(c *scheduler.Config) { c.Streams[0].CreationEpoch = -1 },
			[]string{"Config.Streams[0].CreationEpoch is -1"},
		},
		"max leases": {
			func(c *scheduler.Config) { c.MaxLeasesForWorker = -1 },
			[]string{"Config.MaxLeasesForWorker is -1"},
		},
		"balance": {func(c *scheduler.Config) { c.Balance = 2 }, []string{"Config.Balance is 2"}},
		"assignment strategy": {
			func(c *scheduler.Config) { c.AssignmentStrategy = 2 },
			[]string{"Config.AssignmentStrategy is 2", "leases.AssignByLeaseCount"},
		},
		"max throughput": {
			func(c *scheduler.Config) { c.MaxThroughputKBps = -1 },
			[]string{"Config.MaxThroughputKBps is -1"},
		},
		"no max throughput": {
			func(c *scheduler.Config) { c.MaxThroughputKBps = math.NaN() },
			[]string{"Config.MaxThroughputKBps is NaN"},
		},
		"assignment": {
			func(c *scheduler.Config) { c.Assignment = 3 },
			[]string{"Config.Assignment is 3", "leases.AssignmentKCL3"},
		},
		"assignment by a leader": {
			func(c *scheduler.Config) { c.Assignment = leases.AssignmentKCL3 },
			[]string{"Config.Assignment is kcl3", "leases/dynamodb"},
		},
		"stream without a name": {stream(scheduler.StreamConfig{}), []string{"Config.Streams[0].Name is missing"}},
		"stream name": {
			stream(scheduler.StreamConfig{Name: "or/ders"}),
			[]string{`Config.Streams[0].Name is "or/ders"`},
		},
		"ARN": {
			stream(scheduler.StreamConfig{ARN: "arn:aws:s3:::orders"}),
			[]string{"Config.Streams[0].ARN", "arn:aws:s3:::orders", "want arn:aws:kinesis:REGION"},
		},
		"ARN of another name": {
			stream(scheduler.StreamConfig{Name: "bills", ARN: arn}),
			[]string{"Config.Streams[0].ARN", `Name "bills"`},
		},
		"ARN of another region": {
			stream(scheduler.StreamConfig{ARN: strings.Replace(arn, "eu-west-1", "us-east-1", 1)}),
			[]string{"Config.Streams[0].ARN is in region us-east-1", "calls eu-west-1"},
		},
		"consumer ARN": {
			stream(scheduler.StreamConfig{Name: "orders", ConsumerARN: arn}),
			[]string{"Config.Streams[0].ConsumerARN", "/consumer/CONSUMER"},
		},
		"consumer of another": {
			stream(scheduler.StreamConfig{
				ARN:         arn,
				ConsumerARN: strings.Replace(arn, "orders", "bills", 1) + "/consumer/app:1",
			}),
			[]string{"consumer of another stream"},
		},
		"consumer of other name": {stream(scheduler.StreamConfig{
			ARN: arn, ConsumerName: "x",
			ConsumerARN: arn + "/consumer/app:1",
		}), []string{`not the consumer of ConsumerName "x"`}},
		"consumer name": {
			stream(scheduler.StreamConfig{Name: "orders", ConsumerName: "a b"}),
			[]string{`Config.Streams[0].ConsumerName is "a b"`},
		},
		"position without a time": {
			stream(scheduler.StreamConfig{
				Name:            "orders",
				InitialPosition: kcl.InitialPosition{Kind: kcl.AtTimestamp},
			}),
			[]string{"Config.Streams[0].InitialPosition.Timestamp is missing"},
		},
		"position of one shard": {
			stream(scheduler.StreamConfig{
				Name:            "orders",
				InitialPosition: kcl.InitialPosition{Kind: kcl.AtSequenceNumber},
			}),
			[]string{"Config.Streams[0].InitialPosition.Kind is AT_SEQUENCE_NUMBER"},
		},
		"stream twice": {func(c *scheduler.Config) {
			c.Streams = append(c.Streams,
				scheduler.StreamConfig{ARN: arn})
		}, []string{
			`Config.Streams[1].Name "orders" is that of Config.Streams[0]`,
			"by ARN",
		}},
		"streams and tracker": {
			func(c *scheduler.Config) { c.StreamTracker = noStreams },
			[]string{"Config.Streams and StreamTracker are both set"},
		},
		"refresh interval": {
			func(c *scheduler.Config) { c.StreamRefreshInterval = time.Millisecond },
			[]string{"Config.StreamRefreshInterval is 1ms", "at least 1s"},
		},
		"former streams": {
			func(c *scheduler.Config) { c.FormerStreams.Deletion = 3 },
			[]string{"Config.FormerStreams.Deletion is 3", "scheduler.NoDeletion"},
		},
		"former streams wait": {
			func(c *scheduler.Config) { c.FormerStreams.Wait = time.Second },
			[]string{"Config.FormerStreams.Wait is 1s", "at least 1m"},
		},
		"former streams not provided": {func(c *scheduler.Config) {
			c.FormerStreams.Deletion = scheduler.ProvidedListDeferredDeletion
		}, []string{"Config.FormerStreams.Provided is missing"}},
		"former streams provided": {func(c *scheduler.Config) {
			c.FormerStreams.Provided = func(context.Context) ([]kcl.StreamIdentifier, error) { return nil, nil }
		}, []string{"Config.FormerStreams.Provided is set, but Deletion is NO_STREAMS_LEASES_DELETION"}},
		"consumer while polling": {func(c *scheduler.Config) {
			c.RetrievalMode = scheduler.Polling
			c.Streams[0].ConsumerARN = arn + "/consumer/app:1"
		}, []string{"Config.Streams[0].ConsumerARN is set", "Polling"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := valid()
			tc.change(&c)
			err := c.Validate()
			require.Error(t, err)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
			require.Len(t, strings.Split(err.Error(), "\n"), 1, "one mistake, one line: %v", err)
		})
	}
}

func noStreams(context.Context) ([]scheduler.StreamConfig, error) { return nil, nil }

// Streams of several accounts may have the same name, when both are named by ARN.
func TestSameNameInTwoAccounts(t *testing.T) {
	t.Parallel()
	c := valid()
	c.Streams = []scheduler.StreamConfig{
		{ARN: "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"},
		{ARN: "arn:aws:kinesis:eu-west-1:210987654321:stream/orders"},
	}
	require.NoError(t, c.Validate())
	c.Streams = nil
	c.StreamTracker = noStreams
	require.NoError(t, c.Validate())
}

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	err := scheduler.New(scheduler.Config{FailoverTime: 1, Streams: []scheduler.StreamConfig{{}, {Name: "/"}}},
		nil).Run(t.Context())
	require.Error(t, err)
	for _, field := range []string{
		"Application", "Kinesis", "Leases", "FailoverTime", "Streams[0].Name",
		"Streams[1].Name", "processor factory",
	} {
		require.ErrorContains(t, err, field)
	}
}

func TestNewKeepsACopy(t *testing.T) {
	t.Parallel()
	cfg := valid()
	cfg.WorkerID = "a"
	s, other := scheduler.New(cfg, nil), scheduler.New(cfg, nil)
	cfg.Streams[0].Name = "/"
	require.NotContains(t, s.Run(t.Context()).Error(), "Streams")
	require.Regexp(t, `^a:[a-z0-9]{10}$`, s.Status().Worker)
	require.NotEqual(t, s.Status().Worker, other.Status().Worker, "two processes configured alike")
}
