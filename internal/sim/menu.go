package sim

import (
	"slices"
	"time"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/kinesistest"
)

// kind is one kind of fault. One of its functions is set, or none if the processor or another part
// of the world asks for the fault by its name. A fault of the lease table may have a function for
// each kind of table.
type kind struct {
	name string
	// rate is the chance of a call, or of a step of the world, while the fault is enabled. A world
	// varies it.
	rate float64
	// ops are the operations that the fault can hit; nil for all.
	ops []string
	// call is what the fault does to a call of Kinesis.
	call func(d dice) []kinesistest.Action
	// table is what the fault does to a call of a lease table in memory or in Redis.
	table func(d dice) tableFault
	// dynamodb is what the fault does to a call of a lease table in DynamoDB.
	dynamodb func(d dice) []dynamotest.Action
	// step is what the fault does to the world.
	step func(w *World, d dice)
}

var menu = slices.Concat(
	callFaults, streamFaults, tableFaults, dynamodbFaults, workerFaults, worldFaults, processorFaults,
)

func do(actions ...kinesistest.Action) func(dice) []kinesistest.Action {
	return func(dice) []kinesistest.Action { return actions }
}

func fail(code string) func(dice) []kinesistest.Action {
	return do(kinesistest.Fail(code, "injected by the simulation"))
}

var (
	subscribe  = []string{"SubscribeToShard"}
	getRecords = []string{"GetRecords"}
	listShards = []string{"ListShards"}
	readers    = []string{"SubscribeToShard", "GetRecords", "GetShardIterator"}
)

// callFaults hit single calls of Kinesis.
var callFaults = []kind{
	{name: "call-lost", rate: 0.02, call: do(kinesistest.LoseRequest())},
	{name: "call-answer-lost", rate: 0.02, call: do(kinesistest.LoseAnswer())},
	{name: "call-slow", rate: 0.05, call: func(d dice) []kinesistest.Action {
		return []kinesistest.Action{kinesistest.Delay(d.skewed(300*time.Millisecond, 5*time.Second))}
	}},
	{name: "call-answer-slow", rate: 0.02, call: func(d dice) []kinesistest.Action {
		return []kinesistest.Action{kinesistest.DelayAnswer(d.skewed(300*time.Millisecond, 90*time.Second))}
	}},
	{name: "call-silent", rate: 0.005, call: do(kinesistest.Silence())},
	{name: "call-answer-silent", rate: 0.005, call: do(kinesistest.SilentAnswer())},
	{name: "call-goaway", rate: 0.01, call: do(kinesistest.SendGoAway())},
	{name: "call-throttled", rate: 0.05, ops: readers, call: fail("ProvisionedThroughputExceededException")},
	{name: "call-limit", rate: 0.05, call: fail("LimitExceededException")},
	{name: "call-internal", rate: 0.03, call: fail("InternalFailure")},
	{name: "call-unavailable", rate: 0.03, call: fail("ServiceUnavailable")},
	{name: "call-kms-throttled", rate: 0.02, ops: readers, call: fail("KMSThrottlingException")},
	{name: "call-kms-state", rate: 0.01, ops: readers, call: fail("KMSInvalidStateException")},
	{name: "call-denied-once", rate: 0.002, call: fail("AccessDeniedException")},
	{name: "call-not-found-once", rate: 0.001, call: fail("ResourceNotFoundException")},
	{name: "call-in-use", rate: 0.02, ops: subscribe, call: fail("ResourceInUseException")},
	{name: "call-invalid-once", rate: 0.001, call: fail("InvalidArgumentException")},
	{name: "call-expired-iterator", rate: 0.03, ops: getRecords, call: fail("ExpiredIteratorException")},
	{name: "call-expired-token", rate: 0.05, ops: listShards, call: fail("ExpiredNextTokenException")},
	{name: "call-unknown-error", rate: 0.01, call: fail("SomethingNewException")},
	{name: "call-expired-credentials", rate: 0.005, call: fail("ExpiredTokenException")},
	{name: "call-empty-object", rate: 0.003, call: do(kinesistest.Answer(200, []byte("{}")))},
	{name: "call-empty-body", rate: 0.003, call: do(kinesistest.Answer(200, nil))},
	{name: "call-html", rate: 0.01, call: do(kinesistest.Answer(502, []byte("<html>Bad Gateway</html>")))},
	{name: "list-omits-all", rate: 0.02, ops: listShards, call: do(kinesistest.OmitShards())},
	{name: "list-omits-one", rate: 0.1, ops: listShards, call: func(d dice) []kinesistest.Action {
		return []kinesistest.Action{kinesistest.OmitShards(shardID(d.n(12)))}
	}},
	{name: "false-end", rate: 0.003, ops: getRecords, call: func(d dice) []kinesistest.Action {
		behind := []time.Duration{-1, 0, time.Second, time.Hour}[d.n(4)]
		return []kinesistest.Action{kinesistest.FalseEnd(behind)}
	}},
	{name: "hidden-end", rate: 0.5, ops: []string{"GetRecords", "SubscribeToShard"}, call: do(kinesistest.HideEnd())},
	{name: "subscription-held", rate: 0.1, ops: subscribe, call: func(d dice) []kinesistest.Action {
		return []kinesistest.Action{kinesistest.HoldSubscription(d.skewed(time.Second, time.Minute))}
	}},
}

// streamFaults hit subscriptions.
var streamFaults = []kind{
	stream("stream-ends", func(n int, _ dice) kinesistest.Action {
		return kinesistest.EndStream(kinesistest.AfterEvents(n))
	}),
	stream("stream-cut", func(n int, d dice) kinesistest.Action {
		return kinesistest.EndStream(kinesistest.AfterBytes(n*300 + d.n(300)))
	}),
	stream("stream-reset", func(n int, d dice) kinesistest.Action {
		return kinesistest.ResetStream(kinesistest.AfterBytes(n*300 + d.n(300)))
	}),
	stream("stream-stalls", func(n int, _ dice) kinesistest.Action {
		return kinesistest.StallStream(kinesistest.AfterEvents(n))
	}),
	stream("stream-exception", func(n int, d dice) kinesistest.Action {
		name := []string{"InternalFailureException", "ResourceInUseException", "KMSThrottlingException"}[d.n(3)]
		return kinesistest.SendException(n, name, "injected by the simulation")
	}),
	stream("stream-error", func(n int, _ dice) kinesistest.Action {
		return kinesistest.SendError(n, "InternalError", "injected by the simulation")
	}),
	stream("stream-unknown-event", func(n int, _ dice) kinesistest.Action { return kinesistest.SendUnknownEvent(n) }),
	stream("stream-false-end", func(n int, d dice) kinesistest.Action {
		return kinesistest.SendFalseEnd(n, []time.Duration{-1, 0, time.Second, time.Hour}[d.n(4)])
	}),
	stream("stream-corrupt", func(n int, _ dice) kinesistest.Action { return kinesistest.CorruptEvent(n + 1) }),
	stream("stream-truncated", func(n int, _ dice) kinesistest.Action { return kinesistest.TruncateEvent(n + 1) }),
	stream("stream-huge-event", func(n int, d dice) kinesistest.Action {
		return kinesistest.InflateEvent(n+1, 1<<(10+d.n(12)))
	}),
	stream("stream-repeats", func(n int, _ dice) kinesistest.Action { return kinesistest.DuplicateEvent(n + 1) }),
	stream("stream-repeats-last", func(int, dice) kinesistest.Action { return kinesistest.RepeatLastEvent() }),
	stream("stream-slow-start", func(_ int, d dice) kinesistest.Action {
		return kinesistest.SlowStart(d.skewed(100*time.Millisecond, time.Minute))
	}),
	stream("stream-no-response", func(int, dice) kinesistest.Action { return kinesistest.NoInitialResponse() }),
}

// stream is a fault of a subscription, mostly near its beginning.
func stream(name string, action func(n int, d dice) kinesistest.Action) kind {
	return kind{name: name, rate: 0.1, ops: subscribe, call: func(d dice) []kinesistest.Action {
		n := d.roll("event").n(6) * d.roll("event", "late").n(4)
		return []kinesistest.Action{action(n, d)}
	}}
}
