package scheduler_test

import (
	"encoding/json"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// statement is the part of an IAM policy that the documents in docs/iam use.
type statement struct {
	Sid, Effect string
	Action      []string
	Resource    any // a string or a list of strings
}

func (s statement) allows(action, resource string) bool {
	if s.Effect != "Allow" || !slices.Contains(s.Action, action) {
		return false
	}
	patterns, ok := s.Resource.([]any)
	if !ok {
		patterns = []any{s.Resource}
	}
	for _, p := range patterns {
		// A star stands for slashes in IAM; none of these needs that.
		if ok, err := path.Match(p.(string), resource); ok && err == nil {
			return true
		}
	}
	return false
}

func policy(t *testing.T, file string) []statement {
	t.Helper()
	text, err := os.ReadFile("../docs/iam/" + file)
	require.NoError(t, err)
	filled := strings.NewReplacer("REGION", kinesistest.DefaultRegion, "ACCOUNT", kinesistest.DefaultAccountID,
		"STREAM", streamName, "APPLICATION", "app").Replace(string(text))
	var doc struct{ Statement []statement }
	require.NoError(t, json.Unmarshal([]byte(filled), &doc))
	require.NotEmpty(t, doc.Statement)
	return doc.Statement
}

// TestS01LeastPolicy reads a stream through a split with nothing allowed but
// what docs/iam lists, and finds nothing listed that is never needed.
func TestS01LeastPolicy(t *testing.T) {
	// What the test itself calls, under the same credentials.
	own := []string{"PutRecords", "SplitShard", "DescribeStream"}
	// Listed for moments that this test does not bring about.
	rare := map[string][]string{
		// GetShardIterator and GetRecords confirm the end of a shard whose stream
		// does not say it. A consumer that exists already is asked for its tags.
		"efo.json": {"kinesis:GetShardIterator", "kinesis:GetRecords", "kinesis:ListTagsForResource"},
	}
	for file, mode := range map[string]scheduler.RetrievalMode{
		"efo.json":     scheduler.EFO,
		"polling.json": scheduler.Polling,
	} {
		t.Run(strings.TrimSuffix(file, ".json"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				allowed := policy(t, file)
				var mu sync.Mutex // guards the maps below
				used, refused := map[string]bool{}, map[string]bool{}
				permit := func(action, resource string) bool {
					mu.Lock()
					defer mu.Unlock()
					for _, s := range allowed {
						if s.allows(action, resource) {
							used[action] = true
							return true
						}
					}
					refused[action+" on "+resource] = true
					return false
				}
				cfg := oneStream(2)
				cfg.Deny = func(operation, resource string) bool {
					return !slices.Contains(own, operation) && !permit("kinesis:"+operation, resource)
				}
				r := newRig(t, cfg)
				table := dynamotest.Start(dynamotest.Config{})
				t.Cleanup(table.Close)
				table.Inject(dynamotest.Fault{
					When: func(c dynamotest.Call) bool {
						arn := "arn:aws:dynamodb:" + kinesistest.DefaultRegion + ":" + kinesistest.DefaultAccountID + ":table/" + c.Table
						return !permit("dynamodb:"+c.Operation, arn)
					},
					Do: []dynamotest.Action{dynamotest.Deny()},
				})
				store := dynamodb.New(dynamodb.Config{Client: awstest.DynamoDB(t, table), Table: "app", Logger: r.log})
				w := r.worker("w", func(c *scheduler.Config) { c.Leases, c.RetrievalMode = store, mode }).start()
				r.eventually(time.Minute, "both shards are read", func() bool { return r.owned() == 2 })
				r.put(keys(50)...)
				r.split(r.open()[0])
				r.put(keys(50)...)
				r.eventually(time.Minute, "the children are read", func() bool { return r.owned() == 3 })
				r.finished(time.Minute)
				r.eventually(10*time.Minute, "the row of the finished shard is gone", func() bool {
					listing, err := store.List(t.Context())
					return err == nil && len(listing.Leases) == 3
				})
				require.NoError(t, w.stop())

				mu.Lock()
				defer mu.Unlock()
				require.Empty(t, refused, "needed, but not in docs/iam/%s", file)
				for _, s := range allowed {
					for _, action := range s.Action {
						require.True(t, used[action] || slices.Contains(rare[file], action),
							"docs/iam/%s allows %s, which was not needed", file, action)
					}
				}
			})
		})
	}
}

// TestS01LeastPolicyOfKCL3 needs docs/iam/kcl3.json besides, and no more, where
// a leader assigns the leases.
func TestS01LeastPolicyOfKCL3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		allowed := append(policy(t, "polling.json"), policy(t, "kcl3.json")...)
		var mu sync.Mutex // guards the map below
		refused := map[string]bool{}
		r := newRig(t, oneStream(2))
		table := dynamotest.Start(dynamotest.Config{})
		t.Cleanup(table.Close)
		table.Inject(dynamotest.Fault{
			When: func(c dynamotest.Call) bool {
				arn := "arn:aws:dynamodb:" + kinesistest.DefaultRegion + ":" + kinesistest.DefaultAccountID + ":table/" + c.Table
				if c.Operation == "Query" {
					arn += "/index/LeaseOwnerToLeaseKeyIndex"
				}
				if slices.ContainsFunc(allowed, func(s statement) bool { return s.allows("dynamodb:"+c.Operation, arn) }) {
					return false
				}
				mu.Lock()
				defer mu.Unlock()
				refused[c.Operation+" on "+arn] = true
				return true
			},
			Do: []dynamotest.Action{dynamotest.Deny()},
		})
		store := dynamodb.New(dynamodb.Config{Client: awstest.DynamoDB(t, table), Table: "app", Logger: r.log})
		w := r.worker("w", func(c *scheduler.Config) {
			c.Leases, c.RetrievalMode, c.Assignment = store, scheduler.Polling, leases.AssignmentKCL3
		}).start()
		r.eventually(10*time.Second, "both shards are read", func() bool { return r.owned() == 2 })
		require.Equal(t, leases.AssignmentState{Mode: "KCL 3.x", Leader: w.Status().Worker, Leading: true},
			w.Status().Assignment)
		r.put(keys(50)...)
		r.split(r.open()[0])
		r.put(keys(50)...)
		r.finished(time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		mu.Lock()
		defer mu.Unlock()
		require.Empty(t, refused)
	})
}
