package efo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/metrics"
)

// The tests of this file carry the ids of the catalogue of failures of enhanced fan-out.

// sink counts what metrics record, by name and label values.
type sink struct {
	mu     sync.Mutex // guards the field below
	values map[string]float64
}

type series struct {
	s   *sink
	key string
}

func (s *sink) Series(d *metrics.Desc, labels ...string) metrics.Series {
	return series{s, strings.Join(append([]string{d.Name}, labels...), " ")}
}

func (s *sink) Remove(*metrics.Desc, ...string) {}

func (x series) Record(v float64) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.values[x.key] += v
}

func (s *sink) get(name string, labels ...string) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[strings.Join(append([]string{name, "orders", shard0}, labels...), " ")]
}

func measured(cfg *efo.Config) *sink {
	s := &sink{values: map[string]float64{}}
	cfg.Metrics = metrics.New(s).Shard("orders", shard0)
	return s
}

// A peer that falls silent without a FIN is noticed within SilenceTimeout, wherever it stops.
func TestE01SilentConnection(t *testing.T) {
	for name, fault := range map[string]func(w *world){
		"before the first event": func(w *world) {
			w.srv.Inject(onSubscribe(1,
				kinesistest.StallStream(kinesistest.AfterEvents(0))))
		},
		"between events": func(w *world) {
			w.srv.Inject(onSubscribe(1,
				kinesistest.StallStream(kinesistest.AfterEvents(4))))
		},
		"inside a frame": func(w *world) {
			w.srv.Inject(onSubscribe(1,
				kinesistest.StallStream(kinesistest.AfterBytes(300))))
		},
		"whole network": func(w *world) {
			time.AfterFunc(20*time.Second, func() {
				heal := w.srv.Partition("client")
				time.AfterFunc(40*time.Second, heal)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				fault(w)
				cfg := w.config()
				counted := measured(&cfg)
				r := w.start(cfg, shard0, kcl.Position{})
				for range 120 {
					w.write(1)
					time.Sleep(time.Second)
				}
				require.NoError(t, r.now().err)
				require.Equal(t, numbers(0, 120), r.wait().data)
				require.InDelta(t, 1, counted.get("kcl_subscriptions_ended_total", efo.ReasonSilence), 0)
				o := cfg.Observer.(*watcher)
				last := o.received[0]
				for _, at := range o.received {
					require.LessOrEqual(t, at.Sub(last), 42*time.Second)
					last = at
				}
			})
		})
	}
}

// The time that the loop body takes is not silence.
func TestE01SlowLoopBodyIsNotSilence(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		cfg := w.config()
		var got result
		w.write(1)
		for b, err := range efo.NewSubscriber(cfg).Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			got.add(b)
			if len(got.data) == 2 {
				break
			}
			if w.put == 1 {
				time.Sleep(time.Minute)
				w.write(1)
			}
		}
		require.Equal(t, numbers(0, 2), got.data)
		require.Empty(t, cfg.Observer.(*watcher).retries())
		require.Len(t, cfg.Observer.(*watcher).opens(), 1)
	})
}

// The limit on silence counts from when the loop body came back.
func TestE01SilenceBeginsAfterTheLoopBody(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		cfg := w.config()
		cfg.Lineage = nil
		w.write(1)
		var got result
		for b, err := range efo.NewSubscriber(cfg).Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			got.add(b)
			if len(b.Records) > 0 {
				time.AfterFunc(45*time.Second, w.srv.Partition("client"))
				time.Sleep(30 * time.Second)
				continue
			}
			break
		}
		require.Len(t, cfg.Observer.(*watcher).opens(), 1, "15 seconds of silence are none too many")
	})
}

// A subscribe that is never answered is given up at the deadline of the call.
func TestE02NeverAnswered(t *testing.T) {
	for name, do := range map[string]kinesistest.Action{
		"request ignored":    kinesistest.Silence(),
		"answer withheld":    kinesistest.SilentAnswer(),
		"no first frame":     kinesistest.SlowStart(time.Hour),
		"connection refused": kinesistest.LoseRequest(),
		"answer lost":        kinesistest.LoseAnswer(),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				w.srv.Inject(onSubscribe(2, do))
				w.write(5)
				begin := time.Now()
				cfg := w.config()
				got := w.read(t.Context(), cfg, shard0, kcl.Position{}, 5)
				require.NoError(t, got.err)
				require.Equal(t, numbers(0, 5), got.data)
				require.NotEmpty(t, cfg.Observer.(*watcher).retries())
				require.Less(t, time.Since(begin), 50*time.Second)
			})
		})
	}
}

// GOAWAY and the end of the connection under many subscriptions: all move.
func TestE03GoAway(t *testing.T) {
	const shards = 20
	for name, cut := range map[string]func(*kinesistest.Server){
		"goaway": func(s *kinesistest.Server) { s.GoAway() },
		"goaway and close": func(s *kinesistest.Server) {
			s.GoAway()
			time.Sleep(100 * time.Millisecond)
			s.CloseConnections()
		},
		"reset": func(s *kinesistest.Server) { s.ResetConnections() },
	} {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " derived=", own), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					network := newNetwork(t)
					w := newWorld(t,
						kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: shards}}, Network: network})
					client := derived(t, buildable(t, network, nil), efo.TransportConfig{H2C: true, Logger: w.log})
					watchers := make([]*watcher, shards)
					readings := make([]*reading, shards)
					for i := range shards {
						cfg := w.config()
						if own {
							cfg.HTTPClient = client
						}
						watchers[i] = cfg.Observer.(*watcher)
						readings[i] = w.start(cfg, shardID(i), kcl.Position{})
					}
					time.Sleep(30 * time.Second)
					before := time.Now()
					cut(w.srv)
					time.Sleep(25 * time.Second)
					for i, o := range watchers {
						require.NoError(t, readings[i].now().err)
						opens := o.opens()
						if name == "goaway" {
							require.Len(t, opens, 1)
							continue
						}
						require.Len(t, opens, 2)
						require.Less(t, opens[1].Sub(before), 2*time.Second)
					}
					if name == "goaway" {
						time.Sleep(5 * time.Minute) // all have been renewed, on a new connection
						for _, o := range watchers {
							require.Greater(t, len(o.opens()), 1)
						}
					}
					if own {
						require.Equal(t, 1, network.Link("kinesis.test", "").Conns())
					}
					w.write(1)
					time.Sleep(time.Second)
					require.Equal(t, numbers(0, 1), readings[0].now().data)
				})
			})
		}
	}
}

func shardID(i int) string { return fmt.Sprintf("shardId-%012d", i) }

// The byte stream of three events is cut at every offset (over HTTP/1.1 at every seventh): only
// whole events are delivered, and reading goes on after the last one that was processed.
func TestE04CutAtEveryByte(t *testing.T) {
	for name, cut := range map[string]func(kinesistest.At) kinesistest.Action{
		"end": kinesistest.EndStream, "reset": kinesistest.ResetStream,
	} {
		for _, http1 := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " http1=", http1), func(t *testing.T) {
				inBubble(t, kinesistest.Config{HTTP1: http1}, func(t *testing.T, w *world) {
					cfg := w.config()
					from := kcl.Position{}
					step := testsize.Pick(53, 11, 1) // primes meet every part of a frame
					if http1 || raceEnabled {
						step = max(step, 7)
					}
					for offset := 0; ; offset += step {
						remove := w.srv.Inject(onSubscribe(1, cut(kinesistest.AfterBytes(offset))))
						first := w.put
						o := &watcher{}
						cfg.Observer, cfg.Logger = o, slog.New(slog.DiscardHandler)
						var wg sync.WaitGroup
						wg.Go(func() { // ends after three writes
							for range 3 {
								w.write(1)
								time.Sleep(100 * time.Millisecond)
							}
						})
						got := w.read(t.Context(), cfg, shard0, from, 3)
						require.NoError(t, got.err)
						require.Equal(t, numbers(first, first+3), got.data, "offset %d", offset)
						wg.Wait()
						from = got.last.Next
						remove()
						if len(o.opens()) == 1 && offset > 0 && len(o.retries()) == 0 {
							require.Greater(t, offset, 1000, "a script of three events is longer than that")
							return
						}
						time.Sleep(6 * time.Second) // until the consumer may subscribe again
					}
				})
			})
		}
	}
}

// HTTP/1.1 reads the same records; there a cut looks like a normal end.
func TestE05HTTP1(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprint("tls=", tls), func(t *testing.T) {
			inBubble(t, kinesistest.Config{HTTP1: true, TLS: tls}, func(t *testing.T, w *world) {
				r := w.start(w.config(), shard0, kcl.Position{})
				for i := range 60 {
					w.write(2)
					if i%15 == 14 {
						w.srv.CloseConnections()
					}
					time.Sleep(time.Second)
				}
				time.Sleep(10 * time.Second)
				got := r.wait()
				require.Equal(t, numbers(0, 120), got.data)
			})
		})
	}
}

// More subscriptions than a connection carries: all are opened soon, over few
// connections, and other calls do not wait behind them.
func TestE06FiftyShards(t *testing.T) {
	const shards, perConnection = 50, 10
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		w := newWorld(t, kinesistest.Config{
			Streams: []kinesistest.StreamConfig{
				{Name: "orders", Shards: shards},
			},
			MaxConcurrentStreams: perConnection,
			Network:              network,
		})
		network.Link("kinesis.test", "").SetLatency(20 * time.Millisecond)
		client := derived(t, buildable(t, network, nil), efo.TransportConfig{H2C: true, Logger: w.log})
		begin := time.Now()
		watchers := make([]*watcher, shards)
		for i := range shards {
			cfg := w.config()
			cfg.HTTPClient = client
			watchers[i] = cfg.Observer.(*watcher)
			w.start(cfg, shardID(i), kcl.Position{})
		}
		time.Sleep(30 * time.Second)
		for _, o := range watchers {
			require.NotEmpty(t, o.opens())
			require.Less(t, o.opens()[0].Sub(begin), 5*time.Second)
		}
		require.Equal(t, shards/perConnection, network.Link("kinesis.test", "").Conns())
		before := time.Now()
		_, err := w.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamARN: &w.stream})
		require.NoError(t, err)
		require.Less(t, time.Since(before), time.Second)
	})
}

// Subscriptions that were opened together do not stay together.
func TestE07RenewalsAreSpread(t *testing.T) {
	const shards = 50
	cfg := kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: shards}}}
	inBubble(t, cfg, func(t *testing.T, w *world) {
		calls := w.subscribes()
		for i := range shards {
			w.start(w.config(), shardID(i), kcl.Position{})
		}
		begin := time.Now()
		time.Sleep(21 * time.Minute)
		perSecond := map[int64]int{}
		total := 0
		for _, c := range calls() {
			if c.at.Sub(begin) > 10*time.Second {
				perSecond[c.at.Unix()]++
				total++
			}
		}
		require.InDelta(t, 4.3*shards, total, shards, "five-minute subscriptions in 21 minutes")
		for _, n := range perSecond {
			require.LessOrEqual(t, n, shards/6)
		}
	})
}

// The service ends a subscription after five minutes; the next one opens at once, and nothing is
// missing or repeated.
func TestE07FiveMinutes(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		cfg := w.config()
		counted := measured(&cfg)
		r := w.start(cfg, shard0, kcl.Position{})
		for range 1200 {
			w.write(1)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		require.Equal(t, numbers(0, 1200), r.now().data)
		opens := cfg.Observer.(*watcher).opens()
		require.InDelta(t, 4.5, len(opens), 0.5)
		for i := 2; i < len(opens); i++ {
			require.InDelta(t, 300, opens[i].Sub(opens[i-1]).Seconds(), 1.1)
		}
		require.Empty(t, cfg.Observer.(*watcher).retries())
		require.InDelta(t, 1, counted.get("kcl_subscriptions_ended_total", efo.ReasonRenewed), 0)
		require.InDelta(t, len(opens)-2, counted.get("kcl_subscriptions_ended_total", efo.ReasonExpired), 0)
	})
}

// While the service says that the shard is in use, the reader subscribes once a second, for ten
// seconds.
func TestE09ResourceInUse(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		calls := w.subscribes()
		w.srv.Inject(onSubscribe(9, kinesistest.Fail("ResourceInUseException", "in use")))
		w.write(1)
		begin := time.Now()
		got := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 1)
		require.Equal(t, numbers(0, 1), got.data)
		require.InDelta(t, 9, time.Since(begin).Seconds(), 0.2)
		require.Len(t, calls(), 10)
	})
}

func TestE09ResourceInUseForLong(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		calls := w.subscribes()
		remove := w.srv.Inject(onSubscribe(0, kinesistest.Fail("ResourceInUseException", "in use")))
		r := w.start(w.config(), shard0, kcl.Position{})
		time.Sleep(10 * time.Minute)
		n := len(calls())
		require.Greater(t, n, 25, "never idle without a timer")
		require.Less(t, n, 60, "a backoff after ten seconds")
		remove()
		w.write(1)
		time.Sleep(time.Minute)
		require.Equal(t, numbers(0, 1), r.wait().data)
	})
}

// Failures that go on are a warning once a minute and shard: a refusal, and two that take the shard
// from each other.
func TestE09FailuresWarnOnceAMinute(t *testing.T) {
	for name, do := range map[string]kinesistest.Action{
		"refused":    kinesistest.Fail("ResourceInUseException", "in use"),
		"fails":      kinesistest.Fail("InternalFailureException", "boom"),
		"taken over": kinesistest.SendException(1, "ResourceInUseException", "taken over"),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				w.srv.Inject(onSubscribe(0, do))
				var log bytes.Buffer
				cfg := w.config()
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				w.read(ctx, cfg, shard0, kcl.Position{}, 0)
				require.Greater(t, len(cfg.Observer.(*watcher).retries()), 15)
				// One a minute makes ten at most. A wait of up to 45s after each makes seven at least.
				warnings := strings.Count(log.String(), "level=WARN")
				require.GreaterOrEqual(t, warnings, 7)
				require.LessOrEqual(t, warnings, 10)
			})
		})
	}
}

// A quick resubscribe after a cut meets the service's five-second rule and gets through it.
func TestE09CutSoonAfterSubscribe(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.srv.Inject(onSubscribe(1, kinesistest.ResetStream(kinesistest.AfterEvents(1))))
		calls := w.subscribes()
		begin := time.Now()
		w.write(1)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { // ends after one write
			time.Sleep(time.Second)
			w.write(1)
		})
		got := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 2)
		require.Equal(t, numbers(0, 2), got.data)
		require.Less(t, time.Since(begin), 6500*time.Millisecond)
		all := calls()
		for i := 1; i < len(all); i++ {
			require.GreaterOrEqual(t, all[i].at.Sub(all[i-1].at), time.Second, "the floor")
		}
	})
}

// A worker that lost its lease does not take the shard back from the new owner.
func TestE10TwoHolders(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		var mu sync.Mutex
		owner := "zombie"
		owned := func(name string) func() bool {
			return func() bool { mu.Lock(); defer mu.Unlock(); return owner == name }
		}
		zombie, successor := w.config(), w.config()
		zombie.Owned, successor.Owned = owned("zombie"), owned("successor")
		counted := measured(&zombie)
		z := w.start(zombie, shard0, kcl.Position{})
		w.write(1)
		time.Sleep(30 * time.Second)
		require.Equal(t, numbers(0, 1), z.now().data)

		mu.Lock()
		owner = "successor"
		mu.Unlock()
		s := w.start(successor, shard0, z.now().last.Next)
		time.Sleep(time.Second)
		for range 600 {
			w.write(1)
			time.Sleep(time.Second)
		}
		require.Equal(t, numbers(1, 601), s.wait().data)
		require.Equal(t, numbers(0, 1), z.now().data)
		require.Len(t, zombie.Observer.(*watcher).opens(), 1)
		require.InDelta(t, 1, counted.get("kcl_subscriptions_ended_total", efo.ReasonTakeover), 0)
		require.NoError(t, z.now().err)

		mu.Lock()
		owner = "zombie" // it gets the lease back
		mu.Unlock()
		w.write(1)
		time.Sleep(10 * time.Second)
		require.Equal(t, "601", z.now().data[len(z.now().data)-1])
	})
}

// What is gone is found out: consumer, stream or shard.
func TestE13ConsumerDeleted(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		r := w.start(w.config(), shard0, kcl.Position{})
		time.Sleep(10 * time.Second)
		require.NoError(t, efo.Deregister(t.Context(), w.client, w.consumer))
		time.Sleep(10 * time.Second)
		require.ErrorIs(t, r.now().err, efo.ErrConsumerNotFound)
		require.ErrorContains(t, r.now().err, w.consumer)
		require.NoError(t, efo.Deregister(t.Context(), w.client, w.consumer), "gone already")
	})
}

func TestE13StreamDeleted(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		r := w.start(w.config(), shard0, kcl.Position{})
		time.Sleep(10 * time.Second)
		_, err := w.client.DeleteStream(t.Context(),
			&kinesis.DeleteStreamInput{StreamARN: &w.stream, EnforceConsumerDeletion: aws.Bool(true)})
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		require.ErrorIs(t, r.now().err, kcl.ErrStreamNotFound)
	})
}

func TestE13ShardUnknown(t *testing.T) {
	for _, withLineage := range []bool{true, false} {
		t.Run(fmt.Sprint("lineage=", withLineage), func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				cfg := w.config()
				if !withLineage {
					cfg.Lineage = nil
				}
				got := w.read(t.Context(), cfg, "shardId-000000000099", kcl.Position{}, 0)
				require.ErrorIs(t, got.err, kcl.ErrShardNotFound)
			})
		})
	}
}

// A closed shard leaves the retention period: that is an error, because a shard that is new looks
// the same.
func TestE13ShardTrimmed(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.write(1)
		w.split()
		time.Sleep(49 * time.Hour)
		got := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 0)
		require.ErrorIs(t, got.err, kcl.ErrShardNotFound)
		require.Empty(t, got.data)
		require.Zero(t, got.ends)
	})
}

func TestAccessDenied(t *testing.T) {
	cfg := kinesistest.Config{Deny: func(op, _ string) bool { return op == "SubscribeToShard" }}
	inBubble(t, cfg, func(t *testing.T, w *world) {
		got := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 0)
		require.ErrorIs(t, got.err, kcl.ErrAccessDenied)
		require.ErrorContains(t, got.err, "kinesis:SubscribeToShard")
		require.ErrorContains(t, got.err, w.consumer)
	})
}

// Every exception inside the stream is seen, counted by its code and survived.
func TestE16ExceptionsInTheStream(t *testing.T) {
	for name, code := range map[string]string{
		"ResourceInUseException": "ResourceInUseException", "KMSDisabledException": "KMSDisabledException",
		"KMSInvalidStateException": "KMSInvalidStateException", "KMSAccessDeniedException": "KMSAccessDeniedException",
		"KMSNotFoundException": "KMSNotFoundException", "KMSOptInRequired": "KMSOptInRequired",
		"KMSThrottlingException": "KMSThrottlingException", "InternalFailureException": "InternalFailureException",
		"ResourceNotFoundException": "ResourceNotFoundException", "NobodyKnowsException": "other",
	} {
		for kind, send := range map[string]func(int, string,
			string) kinesistest.Action{"exception": kinesistest.SendException, "error": kinesistest.SendError} {
			t.Run(name+" "+kind, func(t *testing.T) {
				inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
					cfg := w.config()
					counted := measured(&cfg)
					w.srv.Inject(onSubscribe(1, send(2, name, "no")))
					w.write(1)
					r := w.start(cfg, shard0, kcl.Position{})
					time.Sleep(10 * time.Second)
					w.write(1)
					time.Sleep(time.Minute)
					require.NoError(t, r.now().err)
					require.Equal(t, numbers(0, 2), r.now().data)
					require.GreaterOrEqual(t, counted.get("kcl_read_retries_total", "SubscribeToShard", code), 1.0)
					reason := code
					if name == "ResourceInUseException" {
						reason = efo.ReasonTakeover
					}
					require.InDelta(t, 1, counted.get("kcl_subscriptions_ended_total", reason), 0)
				})
			})
		}
	}
}

// The first frame may be an exception or missing: the SDK then fails the call without a type.
func TestE16FirstFrame(t *testing.T) {
	for name, do := range map[string]kinesistest.Action{
		"no initial-response": kinesistest.NoInitialResponse(),
		"corrupt":             kinesistest.CorruptEvent(1),
		"truncated":           kinesistest.TruncateEvent(1),
		"large":               kinesistest.InflateEvent(1, 20<<20),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				w.srv.Inject(onSubscribe(2, do))
				w.write(3)
				got := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 3)
				require.NoError(t, got.err)
				require.Equal(t, numbers(0, 3), got.data)
			})
		})
	}
}

// A position of another shard is an error that names it, never a jump.
func TestE17ForeignPosition(t *testing.T) {
	for _, withLineage := range []bool{true, false} {
		t.Run(fmt.Sprint("lineage=", withLineage), func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				cfg := w.config()
				if !withLineage {
					cfg.Lineage = nil
				}
				w.write(1)
				time.Sleep(time.Second)
				got := w.read(t.Context(), cfg, shard0, kcl.After("49590338271490256608559692538361571095921575989136588898"), 0)
				require.ErrorIs(t, got.err, kcl.ErrInvalidPosition)
				require.ErrorContains(t, got.err, "AFTER_SEQUENCE_NUMBER 4959")
			})
		})
	}
}

// A number below the shard's first one is its parent's, and was not trimmed: reading does not jump
// to the oldest record.
func TestE17PositionBelowTheFirstNumber(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.write(2)
		parents := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 2)
		w.split()
		w.write(20)
		time.Sleep(time.Second)
		for _, child := range []string{"shardId-000000000001", "shardId-000000000002"} {
			r := w.start(w.config(), child, parents.last.Next)
			time.Sleep(time.Minute)
			require.ErrorIs(t, r.now().err, kcl.ErrInvalidPosition)
			require.Empty(t, r.now().data)
		}
	})
}

// A position that the shard can have and that the service refuses was trimmed.
func TestE17TrimmedPosition(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.write(2)
		first := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 2)
		w.write(2)
		time.Sleep(25 * time.Hour) // unread records expire
		w.write(2)
		w.srv.Inject(kinesistest.Fault{
			Operation: "SubscribeToShard", When: func(c *kinesistest.Call) bool {
				return strings.Contains(string(c.Body), first.last.Next.SequenceNumber)
			},
			Do: []kinesistest.Action{kinesistest.Fail("InvalidArgumentException", "trimmed")},
		})
		got := w.read(t.Context(), w.config(), shard0, first.last.Next, 2)
		require.NoError(t, got.err)
		require.Equal(t, numbers(4, 6), got.data, "from the oldest record")
	})
}

// A start in the future waits for its time.
func TestE17TimestampInTheFuture(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.write(1)
		r := w.start(w.config(), shard0, kcl.Position{Kind: kcl.AtTimestamp, Timestamp: time.Now().Add(time.Minute)})
		time.Sleep(2 * time.Minute)
		w.write(1)
		time.Sleep(time.Second)
		require.NoError(t, r.now().err)
		require.Equal(t, numbers(1, 2), r.now().data)
	})
}

// Empty events move the position: a day later there is nothing to read again.
func TestE18EmptyEventsMoveThePosition(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.write(1)
		r := w.start(w.config(), shard0, kcl.Position{})
		time.Sleep(10 * time.Second)
		first := r.now().last.Next
		time.Sleep(25 * time.Hour) // the record has expired
		got := r.wait()
		require.Equal(t, numbers(0, 1), got.data)
		require.NotEqual(t, first, got.last.Next)
		time.Sleep(6 * time.Second)
		w.write(1)
		again := w.read(t.Context(), w.config(), shard0, got.last.Next, 1)
		require.Equal(t, numbers(1, 2), again.data)
	})
}

// Subscriptions from LATEST die before their first event while records arrive:
// everything after the first accepted subscribe is delivered.
func TestE19LatestDiesBeforeTheFirstEvent(t *testing.T) {
	for drops := 1; drops <= 5; drops++ {
		t.Run(fmt.Sprint(drops), func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				w.write(3)
				time.Sleep(5 * time.Second)
				w.srv.Inject(onSubscribe(drops, kinesistest.ResetStream(kinesistest.AfterEvents(0))))
				r := w.start(w.config(), shard0, kcl.Position{Kind: kcl.Latest})
				time.Sleep(time.Millisecond)
				for range 60 {
					w.write(1)
					time.Sleep(time.Second)
				}
				require.NoError(t, r.now().err)
				require.Equal(t, numbers(3, 63), r.wait().data)
			})
		})
	}
}

// skewed is a service whose clock is ahead of ours by a duration: its answers say so, and it takes
// positions by it.
type skewed struct {
	base aws.HTTPClient
	by   time.Duration
}

func (s skewed) Do(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".SubscribeToShard") {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		body = timestamps.ReplaceAllFunc(body, func(m []byte) []byte {
			at, _ := strconv.ParseFloat(string(timestamps.FindSubmatch(m)[1]), 64)
			return fmt.Appendf(nil, `"Timestamp":%.3f`, at-s.by.Seconds())
		})
		req = req.Clone(req.Context())
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	resp, err := s.base.Do(req)
	if err == nil {
		resp.Header.Set("Date", time.Now().Add(s.by).UTC().Format(http.TimeFormat))
	}
	return resp, err
}

var timestamps = regexp.MustCompile(`"Timestamp":([0-9.eE+]+)`)

// Our clock is ten minutes behind the service's, or before it: a start at LATEST that is repeated
// neither skips nor goes back.
func TestE19ClocksDisagree(t *testing.T) {
	for _, by := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		t.Run(by.String(), func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				for range 20 {
					w.write(1) // before the start, for up to twenty minutes
					time.Sleep(time.Minute)
				}
				w.srv.Inject(onSubscribe(3, kinesistest.ResetStream(kinesistest.AfterEvents(0))))
				calls := w.subscribes()
				cfg := w.config()
				cfg.HTTPClient = skewed{w.client.Options().HTTPClient, by}
				r := w.start(cfg, shard0, kcl.Position{Kind: kcl.Latest})
				time.Sleep(time.Millisecond)
				for range 60 {
					w.write(1)
					time.Sleep(time.Second)
				}
				require.NoError(t, r.now().err)
				require.Equal(t, numbers(20, 80), r.wait().data)
				all := calls()
				require.Contains(t, all[len(all)-1].body, "AT_TIMESTAMP")
			})
		})
	}
}

// What was read last is not read again, and the position moves only when the loop body comes back.
func TestE21AndE22ResumeAfterWhatWasProcessed(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		calls := w.subscribes()
		w.write(1)
		var got result
		for b, err := range efo.NewSubscriber(w.config()).Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			got.add(b)
			if len(got.data) == 1 && len(b.Records) > 0 {
				time.Sleep(10 * time.Second)
				w.srv.ResetConnections() // while the batch is being processed
				time.Sleep(10 * time.Second)
				w.write(1)
			}
			if len(got.data) == 2 {
				break
			}
		}
		require.Equal(t, numbers(0, 2), got.data)
		all := calls()
		require.Contains(t, all[len(all)-1].body, "AFTER_SEQUENCE_NUMBER")
		require.Contains(t, all[0].body, "TRIM_HORIZON")
	})
}

// The loop is left by a panic: the subscription is closed all the same (a goroutine left behind
// fails the bubble).
func TestPanicInTheLoopBodyClosesTheStream(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.write(1)
		require.PanicsWithValue(t, "boom", func() {
			for range efo.NewSubscriber(w.config()).Batches(t.Context(), shard0, kcl.Position{}) {
				panic("boom")
			}
		})
	})
}

// A slow loop body stops the server on this stream and loses nothing.
func TestE23BackPressure(t *testing.T) {
	inBubble(t, kinesistest.Config{DisableLimits: true}, func(t *testing.T, w *world) {
		const n, size = 300, 50_000
		for i := range n {
			w.writeData(fmt.Sprintf("%05d", i) + strings.Repeat("x", size))
		}
		cfg := w.config()
		seen := 0
		for b, err := range efo.NewSubscriber(cfg).Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			for _, r := range b.Records {
				require.Equal(t, fmt.Sprintf("%05d", seen), string(r.Data()[:5]))
				seen++
			}
			if seen == n {
				break
			}
			time.Sleep(30 * time.Second)
		}
		require.Equal(t, n, seen)
		require.Empty(t, cfg.Observer.(*watcher).retries())
	})
}

// Six hours of a loop body that is now faster and now slower than the records
// come: nothing is lost or repeated, and nothing is reconnected for its slowness.
func TestE23RandomSpeed(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		n := testsize.Pick(1200, 3600, 7200)
		rng := rand.New(rand.NewPCG(23, 0))
		cfg := w.config()
		cfg.Logger = slog.New(slog.DiscardHandler)
		counted := measured(&cfg)
		var writing sync.WaitGroup
		defer writing.Wait()
		writing.Go(func() { // ends after its records
			for range n {
				w.write(1)
				time.Sleep(3 * time.Second)
			}
		})
		seen := 0
		for b, err := range efo.NewSubscriber(cfg).Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			for _, r := range b.Records {
				require.Equal(t, fmt.Sprint(seen), string(r.Data()))
				seen++
			}
			if seen == n {
				break
			}
			time.Sleep(time.Duration(300+rng.IntN(30_000)) * time.Millisecond / 10 * time.Duration(1+9*rng.IntN(2)))
		}
		require.Empty(t, cfg.Observer.(*watcher).retries())
		opens := float64(len(cfg.Observer.(*watcher).opens()))
		ended := counted.get(
			"kcl_subscriptions_ended_total",
			efo.ReasonExpired,
		) + counted.get("kcl_subscriptions_ended_total", efo.ReasonRenewed)
		require.InDelta(t, opens-1, ended, 0, "all but the last ended in their time")
	})
}

// The end of a shard meets cuts in every order and comes exactly once.
func TestE24ShardEndMeetsCuts(t *testing.T) {
	for name, do := range map[string][]kinesistest.Action{
		"cut right after":        {kinesistest.ResetStream(kinesistest.AfterEvents(2))},
		"stalled after":          {kinesistest.StallStream(kinesistest.AfterEvents(2))},
		"cut before":             {kinesistest.ResetStream(kinesistest.AfterEvents(1))},
		"ended before":           {kinesistest.EndStream(kinesistest.AfterEvents(1))},
		"end truncated":          {kinesistest.TruncateEvent(2)},
		"end repeated":           {kinesistest.DuplicateEvent(2)},
		"before any event":       {kinesistest.EndStream(kinesistest.AfterEvents(0))},
		"exception after events": {kinesistest.SendException(1, "ResourceNotFoundException", "gone")},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				w.srv.Inject(onSubscribe(1, do...))
				w.write(3)
				w.split()
				got := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 0)
				require.NoError(t, got.err)
				require.Equal(t, numbers(0, 3), got.data)
				require.Equal(t, 1, got.ends)
				require.Len(t, got.last.End.Children, 2)
			})
		})
	}
}

// An event of a kind that nobody knows is passed over.
func TestE25UnknownEvent(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.srv.Inject(onSubscribe(1, kinesistest.SendUnknownEvent(1), kinesistest.EndStream(kinesistest.AfterEvents(1))))
		cfg := w.config()
		counted := measured(&cfg)
		w.write(1)
		r := w.start(cfg, shard0, kcl.Position{})
		time.Sleep(10 * time.Second)
		w.write(1)
		time.Sleep(10 * time.Second)
		require.Equal(t, numbers(0, 2), r.wait().data)
		require.Len(t, cfg.Observer.(*watcher).opens(), 2)
		require.InDelta(t, 1, counted.get("kcl_unknown_events_total"), 0)
	})
}

// Reading asks nothing but SubscribeToShard: no describe call per shard or renewal.
func TestE26NoOtherCalls(t *testing.T) {
	cfg := kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 5}}}
	inBubble(t, cfg, func(t *testing.T, w *world) {
		var mu sync.Mutex
		calls := map[string]int{}
		w.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
			mu.Lock()
			defer mu.Unlock()
			calls[c.Operation]++
			return nil
		})
		for i := range 5 {
			cfg := w.config()
			cfg.Lineage = nil
			w.start(cfg, shardID(i), kcl.Position{})
		}
		time.Sleep(20 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, calls, 1)
		require.InDelta(t, 5*4.5, calls["SubscribeToShard"], 5)
	})
}

// However far it has come, a reader ends within a second of its context.
func TestE28CloseAnywhere(t *testing.T) {
	for name, fault := range map[string]*kinesistest.Fault{
		"waiting for events":  nil,
		"waiting for headers": ptr(onSubscribe(0, kinesistest.Silence())),
		"first frame":         ptr(onSubscribe(0, kinesistest.SlowStart(time.Hour))),
		"stalled":             ptr(onSubscribe(0, kinesistest.StallStream(kinesistest.AfterBytes(150)))),
		"backing off":         ptr(onSubscribe(0, kinesistest.Fail("InternalFailure", "no"))),
		"refused":             ptr(onSubscribe(0, kinesistest.Fail("ResourceInUseException", "no"))),
		"asking": {
			When: func(c *kinesistest.Call) bool { return c.Operation != "SubscribeToShard" },
			Do:   []kinesistest.Action{kinesistest.Silence()},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				if fault != nil {
					w.srv.Inject(*fault)
				}
				if name == "asking" {
					w.srv.Inject(onSubscribe(0, kinesistest.Fail("ResourceNotFoundException", "no")))
				}
				for _, after := range []time.Duration{0, time.Millisecond, 3 * time.Second, 12 * time.Second} {
					ctx, cancel := context.WithCancelCause(t.Context())
					cause := errors.New("stop")
					time.AfterFunc(after, func() { cancel(cause) })
					begin := time.Now()
					got := w.read(ctx, w.config(), shard0, kcl.Position{}, 0)
					require.Equal(t, cause, got.err)
					require.Less(t, time.Since(begin), after+time.Second)
					synctest.Wait()
				}
			})
		})
	}
}

func ptr[T any](v T) *T { return &v }
