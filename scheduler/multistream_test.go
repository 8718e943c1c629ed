package scheduler_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/scheduler"
)

// L-20: a lease table of the one form is refused by an application of the other,
// before anything is written, with what to do about it.
func TestL20FormOfTheKeys(t *testing.T) {
	t.Parallel()
	one := func(c *scheduler.Config) {}
	two := func(c *scheduler.Config) { c.Streams = []scheduler.StreamConfig{{Name: "orders"}, {Name: "bills"}} }
	tracker := tracked(list("orders"))
	const otherTable = "use another lease table (reading then begins without checkpoints), or "
	type form struct {
		name   string
		config func(*scheduler.Config)
		multi  bool
	}
	forms := []form{{"one stream", one, false}, {"two streams", two, true}, {"tracker of one", tracker, true}}
	for _, first := range forms {
		for _, second := range forms {
			t.Run(first.name+" then "+second.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, someStreams(1, "orders", "bills"))
					w := r.worker("a", first.config).start()
					r.produceTo(2, time.Second, "orders")
					r.finished(time.Minute)
					require.NoError(t, w.stop())
					before := r.table()

					w = r.worker("b", second.config).start()
					if first.multi == second.multi {
						r.produceTo(2, time.Second, "orders")
						r.finished(time.Minute)
						require.NoError(t, w.Healthy())
						require.NoError(t, w.stop())
						r.audit.check(0)
						return
					}
					<-w.done
					require.ErrorIs(t, w.err, leases.ErrForeignTable)
					if second.multi {
						require.ErrorContains(t, w.err, `row "shardId-000000000000" belongs to an application with one stream,`+
							` whose keys are plain shard ids, and this one has several`)
						require.ErrorContains(t, w.err, otherTable+"read one stream, named in Config.Streams")
					} else {
						require.ErrorContains(t, w.err, `:shardId-000000000000" belongs to an application with several streams,`+
							` whose keys are account:stream:epoch:shardId, and this one has one stream`)
						require.ErrorContains(t, w.err,
							otherTable+"name the stream by Config.StreamTracker, whose keys have the form for several streams")
					}
					require.ElementsMatch(t, before, r.table())
				})
			})
		}
	}
}

// twoAccounts sends each request to the account whose ARN it names. As in the service, requests
// without an ARN go to the home account.
type twoAccounts struct {
	home, foreign *http.Client
	account       string // the id of the foreign account
	host          string // the server of the foreign account

	mu    sync.Mutex // guards calls
	calls []string   // to the foreign account
}

func (a *twoAccounts) Do(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	if !bytes.Contains(body, []byte(":"+a.account+":stream/")) {
		return a.home.Do(req)
	}
	_, operation, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	a.mu.Lock()
	a.calls = append(a.calls, operation)
	a.mu.Unlock()
	req.URL.Host = a.host
	return a.foreign.Do(req)
}

func (a *twoAccounts) called(operation string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.calls, operation)
}

// S-03: every call names a stream of another account by its ARN. The home account has a stream of
// the same name. The stream consumer is registered in the other account, or exists there.
func TestS03CrossAccount(t *testing.T) {
	t.Parallel()
	const account = "210987654321"
	for _, tc := range []struct {
		name     string
		mode     scheduler.RetrievalMode
		consumer bool // there is one
	}{
		{"fan-out", scheduler.EFO, false},
		{"fan-out with a consumer", scheduler.EFO, true},
		{"polling", scheduler.Polling, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, someStreams(2, "orders"))
				cfg := someStreams(2, "orders")
				cfg.AccountID = account
				foreign := kinesistest.New(t, cfg)
				foreignAdmin := awstest.Kinesis(t, foreign)
				arn := foreign.StreamARN("orders")
				require.Equal(t, "arn:aws:kinesis:us-east-1:"+account+":stream/orders", arn)
				theirs := scheduler.StreamConfig{ARN: arn}
				if tc.consumer {
					out, err := foreignAdmin.RegisterStreamConsumer(t.Context(),
						&kinesis.RegisterStreamConsumerInput{StreamARN: &arn, ConsumerName: aws.String("given")})
					require.NoError(t, err)
					theirs.ConsumerARN = *out.Consumer.ConsumerARN
					time.Sleep(time.Second)
				}
				accounts := &twoAccounts{
					home: r.srv.HTTPClientFrom("a"), foreign: foreign.HTTPClientFrom("a"),
					account: account, host: strings.TrimPrefix(foreign.URL(), "http://"),
				}
				client := awstest.Kinesis(t, r.srv, func(o *kinesis.Options) { o.HTTPClient = accounts })
				w := r.worker("a", func(c *scheduler.Config) {
					c.Kinesis, c.RetrievalMode = client, tc.mode
					c.Streams = nil
					c.StreamTracker = func(context.Context) ([]scheduler.StreamConfig, error) {
						return []scheduler.StreamConfig{{ARN: r.srv.StreamARN("orders")}, theirs}, nil
					}
				}).start()
				putTheirs := func() {
					for i := range 10 {
						key := fmt.Sprintf("theirs-%d", i)
						data := r.payload(key)
						r.audit.produced(string(data))
						_, _, err := foreign.Put("orders", key, data)
						require.NoError(t, err)
					}
				}
				for range 3 {
					r.putTo("orders", 10)
					putTheirs()
					time.Sleep(time.Second)
				}
				r.finished(time.Minute)
				_, _, err := foreign.SplitShard("orders", "shardId-000000000000")
				require.NoError(t, err)
				r.produceTo(2, time.Second, "orders")
				putTheirs()
				r.finished(2 * time.Minute)
				require.NoError(t, w.Healthy())

				of := map[string]int{}
				for _, l := range r.table() {
					of[l.Key[:12]]++
				}
				require.Equal(t, map[string]int{kinesistest.DefaultAccountID: 2, account: 4}, of)
				require.Equal(t, tc.mode == scheduler.EFO && !tc.consumer, accounts.called("RegisterStreamConsumer"))
				if tc.consumer {
					i := slices.IndexFunc(w.Status().Streams,
						func(s scheduler.StreamStatus) bool { return s.Stream.AccountID == account })
					require.Equal(t, theirs.ConsumerARN, w.Status().Streams[i].ConsumerARN)
				}
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// The same stream by name and by ARN is a mistake that only the service can tell.
func TestStreamNamedTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders", "bills"))
		l := list("orders", "bills")
		w := r.worker("a", tracked(l)).start()
		r.produceTo(2, time.Second, "orders", "bills")
		r.finished(time.Minute)
		// From name to ARN: the same stream, which goes on where it was.
		l.configure(scheduler.StreamConfig{ARN: r.srv.StreamARN("orders")}, scheduler.StreamConfig{Name: "bills"})
		r.produceTo(3, time.Minute, "orders", "bills")
		r.finished(time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A consumer that changes makes the stream's shards start again with it.
func TestConsumerOfATrackedStreamChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(2, "orders"))
		l := list("orders")
		w := r.worker("a", tracked(l)).start()
		r.produceTo(2, time.Second, "orders")
		r.finished(time.Minute)
		require.Contains(t, w.Status().Streams[0].ConsumerARN, "/consumer/app:")
		l.configure(scheduler.StreamConfig{
			Name: "orders", ConsumerName: "other",
			InitialPosition: kcl.InitialPosition{Kind: kcl.Latest},
		})
		r.produceTo(3, time.Minute, "orders")
		r.finished(time.Minute)
		require.Contains(t, w.Status().Streams[0].ConsumerARN, "/consumer/other:")
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// The series of a stream, and of its shards, go with it.
func TestSeriesOfAFormerStreamAreRemoved(t *testing.T) {
	t.Parallel()
	shards := testsize.Pick(1, 2, 2)
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, someStreams(shards, "orders", "bills"))
		l := list("orders", "bills")
		sink := newSeries()
		w := r.worker("a", mode, tracked(l), deleting(scheduler.AutoDetectionAndDeferredDeletion), func(c *scheduler.Config) {
			c.Metrics = metrics.New(sink)
		}).start()
		r.produceTo(3, time.Minute, "orders", "bills")
		remove := r.srv.Inject(kinesistest.Fault{
			Operation: "ListShards", Client: "a",
			Do: []kinesistest.Action{kinesistest.Fail("InternalFailureException", "oops")},
		})
		time.Sleep(4 * time.Minute)
		remove()
		time.Sleep(4 * time.Minute)
		require.Len(t, sink.with("kcl_records_total{000000000000:bills:"), shards)
		require.Len(t, sink.with("kcl_shard_sync_errors_total{000000000000:bills:"), 1)
		require.Len(t, sink.with("kcl_hash_range_holes{000000000000:bills:"), 1)
		require.InDelta(t, 2, sink.value(metrics.Streams), 0)
		l.set("orders")
		time.Sleep(4 * time.Minute)
		require.Empty(t, sink.with("bills"))
		require.NotEmpty(t, sink.with("kcl_records_total{000000000000:orders:"))
		require.InDelta(t, 1, sink.value(metrics.Streams), 0)
		require.InDelta(t, 1, sink.value(metrics.FormerStreams), 0)
		// Four refreshes, of 72 seconds at most: the stream is left, its rows are seen
		// to stand still, after the wait they are deleted, and then they are not seen.
		time.Sleep(formerWait + time.Minute)
		require.InDelta(t, 0, sink.value(metrics.FormerStreams), 0)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A row that another library made, taken while the table does not accept writes
// of metadata: no record is delivered before LATEST is pinned, and then from there.
func TestRowOfAnotherLibraryIsCompletedFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders", "bills"))
		summary, err := r.admin.DescribeStreamSummary(t.Context(),
			&kinesis.DescribeStreamSummaryInput{StreamName: aws.String("orders")})
		require.NoError(t, err)
		id := kcl.StreamIdentifier{
			AccountID: kinesistest.DefaultAccountID, Name: "orders",
			CreationEpoch: summary.StreamDescriptionSummary.StreamCreationTimestamp.Unix(),
		}
		key := shardsync.LeaseKey(id, "shardId-000000000000", true)
		require.NoError(t, r.store.Create(t.Context(), leases.Lease{
			Key: key, Stream: id.String(), ShardID: "shardId-000000000000", ThroughputKBps: -1,
			Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelLatest},
		}))
		w := r.worker("a", tracked(list("orders")))
		w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "update" && call.Update.Set.Has(leases.AttrPinnedAt) {
				return context.DeadlineExceeded
			}
			return apply()
		})
		w.start()
		time.Sleep(10 * time.Second)
		r.putTo("orders", 5)
		time.Sleep(5 * time.Minute)
		require.Zero(t, r.audit.count())
		require.ErrorContains(t, w.Healthy(), "checkpoint store")
		w.faults.SetFault(nil)
		r.eventually(time.Minute, "the row is complete", func() bool {
			row := r.row(key)
			return !row.PinnedAt.IsZero() && row.StreamCreated.Unix() == id.CreationEpoch
		})
		r.eventually(time.Minute, "the shard is read", func() bool { return r.owned() == 1 })
		require.NoError(t, w.stop())
	})
}

// The item of a shard has what the KCL's has: the stream's identifier and the
// shard beside the key. An item of the KCL, which knows nothing of ours, is gone on with.
func TestItemsOfSeveralStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders", "bills"))
		ddb := dynamotest.Start(dynamotest.Config{})
		t.Cleanup(ddb.Close)
		client := awstest.DynamoDB(t, ddb)
		table := func(c *scheduler.Config) {
			c.Leases = dynamodb.New(dynamodb.Config{Client: client, Table: "app", Logger: r.log})
		}
		l := list("orders")
		w := r.worker("a", tracked(l), table).start()
		r.produceTo(2, time.Second, "orders", "bills")
		r.eventually(time.Minute, "orders is read", func() bool { return r.owned() == 1 })
		name := w.Status().Streams[0].Stream.String()
		require.Regexp(t, `^000000000000:orders:\d+$`, name)
		item := func(key string) map[string]ddbtypes.AttributeValue {
			out, err := client.GetItem(t.Context(), &awsdynamodb.GetItemInput{
				TableName: aws.String("app"),
				Key:       map[string]ddbtypes.AttributeValue{"leaseKey": &ddbtypes.AttributeValueMemberS{Value: key}},
			})
			require.NoError(t, err)
			return out.Item
		}
		text := func(v ddbtypes.AttributeValue) string {
			s, ok := v.(*ddbtypes.AttributeValueMemberS)
			require.True(t, ok)
			return s.Value
		}
		of := item(name + ":shardId-000000000000")
		require.Equal(t, name, text(of["streamName"]))
		require.Equal(t, "shardId-000000000000", text(of["shardId"]))
		require.Contains(t, of, "goStreamCreated")

		bills := strings.Replace(name, "orders", "bills", 1)
		number := func(n string) ddbtypes.AttributeValue { return &ddbtypes.AttributeValueMemberN{Value: n} }
		_, err := client.PutItem(t.Context(), &awsdynamodb.PutItemInput{
			TableName: aws.String("app"),
			Item: map[string]ddbtypes.AttributeValue{
				"leaseKey":                     &ddbtypes.AttributeValueMemberS{Value: bills + ":shardId-000000000000"},
				"streamName":                   &ddbtypes.AttributeValueMemberS{Value: bills},
				"shardId":                      &ddbtypes.AttributeValueMemberS{Value: "shardId-000000000000"},
				"checkpoint":                   &ddbtypes.AttributeValueMemberS{Value: "TRIM_HORIZON"},
				"leaseCounter":                 number("7"),
				"ownerSwitchesSinceCheckpoint": number("0"),
				"checkpointSubSequenceNumber":  number("0"),
				"startingHashKey":              &ddbtypes.AttributeValueMemberS{Value: "0"},
				"endingHashKey":                &ddbtypes.AttributeValueMemberS{Value: "340282366920938463463374607431768211455"},
			},
		})
		require.NoError(t, err)
		l.set("orders", "bills")
		r.finished(2 * time.Minute)
		of = item(bills + ":shardId-000000000000")
		require.Contains(t, of, "goStreamCreated")
		require.NotEqual(t, "TRIM_HORIZON", text(of["checkpoint"]))
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// In the identifiers of the KCL the epoch is what the application says, and the
// examples for it say 12345. Such a stream is not begun anew without a word: it
// is refused, until its configuration has the number.
func TestL20EpochOfAnotherApplication(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders", "bills"))
		id := kcl.StreamIdentifier{AccountID: kinesistest.DefaultAccountID, Name: "orders", CreationEpoch: 12345}
		key := shardsync.LeaseKey(id, "shardId-000000000000", true)
		require.NoError(t, r.store.Create(t.Context(), leases.Lease{
			Key: key, Stream: id.String(), ShardID: "shardId-000000000000", ThroughputKBps: -1,
			Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
		}))
		l := list("orders", "bills")
		w := r.worker("a", tracked(l)).start()
		r.produceTo(2, time.Second, "orders", "bills")
		time.Sleep(10 * time.Minute)
		require.Equal(t, 1, r.owned(), "bills")
		require.Empty(t, r.row(key).Owner)
		require.Len(t, r.rowsOf("orders"), 1)
		require.ErrorContains(t, w.Healthy(), "set CreationEpoch of the stream to 12345")

		l.configure(scheduler.StreamConfig{Name: "orders", CreationEpoch: 12345}, scheduler.StreamConfig{Name: "bills"})
		r.finished(2 * time.Minute)
		require.Len(t, r.rowsOf("orders"), 1)
		row := r.row(key)
		require.True(t, row.Started())
		require.NotEqual(t, int64(12345), row.StreamCreated.Unix(), "it says when the stream was created nevertheless")
		require.NoError(t, w.Healthy())

		// With the same keys, an earlier stream of this name would be taken for it.
		require.NoError(t, r.srv.DeleteStream("orders"))
		time.Sleep(2 * time.Minute)
		require.NoError(t, r.srv.CreateStream(kinesistest.StreamConfig{Name: "orders", Shards: 1}))
		time.Sleep(10 * time.Minute)
		require.ErrorIs(t, w.Healthy(), kcl.ErrStreamRecreated)
		require.ErrorContains(t, w.Healthy(), "kclctl leases delete -all -stream "+id.String()+" -table TABLE")
		require.Equal(t, row.Checkpoint, r.row(key).Checkpoint)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// comingAndGoing is a fleet of two workers whose streams come and go, are
// resharded and written to, on the table of the Java KCL.
func comingAndGoing(t *testing.T, seed uint64) {
	t.Logf("repeat with -run TestR01FleetOfComingAndGoingStreams -seed %d -seeds 1", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	names := []string{"orders", "bills", "notes", "mails"}
	r := newRig(t, someStreams(1+rnd.IntN(2), names...))
	ddb := dynamotest.Start(dynamotest.Config{})
	t.Cleanup(ddb.Close)
	mode := scheduler.RetrievalMode(rnd.IntN(2))
	l := list(names[:2]...)
	born, kills, deaths := 0, 0, rnd.IntN(2) > 0
	start := func() *worker {
		name := fmt.Sprintf("w%d", born)
		born++
		table := dynamodb.New(dynamodb.Config{Client: awstest.DynamoDBFrom(t, ddb, name), Table: "app", Logger: r.log})
		return r.worker(name, tracked(l), deleting(scheduler.AutoDetectionAndDeferredDeletion), func(c *scheduler.Config) {
			c.RetrievalMode, c.Leases, c.FormerStreams.Wait = mode, table, time.Hour
			c.StreamRefreshInterval = time.Duration(1+rnd.IntN(20)) * time.Second
		}).start()
	}
	live := []*worker{start(), start()}
	for range testsize.Pick(8, 25, 25) {
		switch n := rnd.IntN(10); {
		case n < 5: // each stream is there, or not
			var now []string
			for _, name := range names {
				if rnd.IntN(3) > 0 {
					now = append(now, name)
				}
			}
			l.set(now...)
		case n < 7:
			stream := names[rnd.IntN(len(names))]
			out, err := r.admin.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &stream})
			require.NoError(t, err)
			if len(out.Shards) < 12 {
				_, _, err := r.srv.SplitShard(stream, *out.Shards[len(out.Shards)-1].ShardId)
				require.NoError(t, err)
			}
		case n < 8:
			at := rnd.IntN(2)
			require.NoError(t, live[at].stop())
			live[at] = start()
		case n < 9 && deaths:
			at := rnd.IntN(2)
			ddb.Network().Host(live[at].name).Kill()
			live[at].kill()
			live[at] = start()
			kills++
		}
		r.produceTo(rnd.IntN(3), time.Duration(rnd.IntN(20))*time.Second, names...)
		time.Sleep(time.Duration(rnd.IntN(30)) * time.Second)
	}
	l.set(names...)
	r.finished(5 * time.Minute)
	time.Sleep(time.Minute)
	for _, w := range live {
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
	}
	r.audit.check(kills * 1000)
}

// Two workers whose lists change at different moments lose nothing and break no
// order; only deaths make duplicates.
func TestR01FleetOfComingAndGoingStreams(t *testing.T) {
	t.Parallel()
	first := *seed
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	for i := range testsize.Pick(uint64(*seeds+3)/4, uint64(*seeds+3)/4, uint64(*seeds+1)/2) {
		t.Run(fmt.Sprintf("seed %d", first+i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { comingAndGoing(t, first+i) })
		})
	}
}

// A hundred streams and three workers that start together: all are read soon, at
// few calls, and one listing of the table does for all streams.
func TestHundredStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range testsize.Pick(8, 30, 100) {
			names = append(names, fmt.Sprintf("stream-%03d", i))
		}
		r := newRig(t, someStreams(1, names...))
		l := list(names...)
		begun := time.Now()
		scans := map[string]*atomic.Int32{}
		for i := range 3 {
			w := r.worker(fmt.Sprintf("w%d", i), tracked(l))
			scans[w.name] = w.counts("list")
			w.start()
		}
		r.eventually(2*time.Minute, "all are read", func() bool { return r.owned() == len(names) })
		t.Logf("%d streams are read after %s", len(names), time.Since(begun))
		time.Sleep(2 * time.Minute) // until every worker has opened every stream
		for _, n := range scans {
			n.Store(0)
		}
		time.Sleep(10 * time.Minute)
		for worker, n := range scans {
			require.LessOrEqual(t, n.Load(), int32(10*60/2+10*2), "%s: the coordinator's scans, and one or so a minute", worker)
		}
		for _, w := range r.workers {
			require.NoError(t, w.Healthy())
			require.NoError(t, w.stop())
		}
		r.audit.check(0)
	})
}

// One listing of the table does for all streams at the start too.
func TestStartWithManyStreamsListsTheTableOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var names []string
		var streams []scheduler.StreamConfig
		for i := range 20 {
			names = append(names, fmt.Sprintf("stream-%02d", i))
			streams = append(streams, scheduler.StreamConfig{Name: names[i]})
		}
		r := newRig(t, someStreams(1, names...))
		w := r.worker("a", func(c *scheduler.Config) { c.Streams = streams })
		lists := w.counts("list")
		w.start()
		r.eventually(time.Minute, "the rows are made", func() bool { return len(r.table()) == len(streams) })
		require.LessOrEqual(t, lists.Load(), int32(5),
			"how large the fleet is, whether others start, whose the rows are, which are missing, and the coordinator's")
		r.produceTo(2, time.Second, names...)
		r.finished(time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}
