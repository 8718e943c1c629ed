package settings

import (
	"cmp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/cmd/multilangd/internal/properties"
	store "github.com/kinesis-go/kcl/leases/dynamodb"
)

// FuzzRead: the worker and the lease table accept each file that Read accepts. So every mistake has
// its file and line. Each error of Read names the file.
func FuzzRead(f *testing.F) {
	f.Add(least)
	f.Add("streamArn=" + arnOrders + "\nregionName=eu-west-1\nfanoutConfig.consumerArn=" + arnOrders + "/consumer/a:1")
	f.Add("streamNames=a,b\nstreamArns=" + arnOrders + "," + arnBills + "\nfanoutConfig.consumerName=c")
	f.Add("initialPositionInStreamExtended=1700000000\nfailoverTimeMillis=1000\nshutdownGraceMillis=0\nmaxRecords=7")
	f.Add("coordinatorStateTableName=abc\nworkerMetricsTableName=abd\ntableName=abe\nmaxThroughputPerHostKBps=1e3")
	for _, k := range keys {
		f.Add(strings.TrimSuffix(k.name, anyName) + "=1")
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !strings.Contains(text, "applicationName") {
			text = "executableName = a\napplicationName = app\n" + text
		}
		if !strings.Contains(text, "stream") {
			text += "\nstreamName = orders"
		}
		file, err := properties.Parse("fuzz.properties", []byte(text))
		if err != nil {
			return
		}
		cfg, _, err := Read(file)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				require.True(t, strings.HasPrefix(line, "fuzz.properties:"), line)
			}
			return
		}
		require.NotEmpty(t, cfg.Executable)
		region := cmp.Or(cfg.Kinesis.Region, cfg.Region, "us-east-1")
		cfg.Scheduler.Kinesis = kinesis.New(kinesis.Options{Region: region})
		cfg.Table.Client = dynamodb.New(dynamodb.Options{Region: region})
		cfg.Scheduler.Leases = store.New(cfg.Table)
		require.NoError(t, cfg.Scheduler.Validate())
	})
}
