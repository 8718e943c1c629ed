package efo

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrConsumerNotFound says that the stream consumer does not exist, or no
	// longer. Register it again (see [Register]) and go on with its new ARN.
	ErrConsumerNotFound = errors.New("efo: stream consumer not found")

	// ErrTooManyConsumers says that the stream has as many consumers as the service
	// allows. The wrapping error lists them: deregister one, or use its ARN.
	ErrTooManyConsumers = errors.New("efo: no more consumers can be registered with the stream")

	// ErrConsumerTaken says that another application made the stream consumer of
	// that name. Two applications that share a consumer take every shard from each
	// other every few seconds: choose another name.
	ErrConsumerTaken = errors.New("efo: stream consumer belongs to another application")

	// ErrConsumerNotReady says that the consumer did not become ACTIVE in time.
	ErrConsumerNotReady = errors.New("efo: stream consumer is not ready")
)

// Reasons of the reader itself to end a subscription or an attempt. The observer and the log get
// them.
var (
	errNoAnswer = fmt.Errorf("SubscribeToShard was not answered in time: %w", context.DeadlineExceeded)
	errSilence  = fmt.Errorf("no event for longer than SilenceTimeout: %w", context.DeadlineExceeded)
	errEarly    = errors.New("the subscription ended before its five minutes, without a reason")
	errDoubtful = errors.New("the stream says that the shard has ended, but names no children or is not at the tip")
)

// errNoDescription says that the service answered without a description of the stream consumer.
var errNoDescription = errors.New("the answer of DescribeStreamConsumer has no ConsumerDescription")

// Reasons why an accepted subscription ended: the label reason of kcl_subscriptions_ended_total.
// The label can also be one of the error codes of internal/awserr, which is a fixed list.
const (
	ReasonExpired  = "expired_5m" // the service ended it after five minutes
	ReasonRenewed  = "renewed"    // the reader ended it early, to spread the renewals of many shards
	ReasonClosed   = "closed"     // it ended early without an error
	ReasonSilence  = "silence"    // no event came for SilenceTimeout
	ReasonTakeover = "takeover"   // another subscriber took the shard over
	ReasonShardEnd = "shard_end"  // the shard has been read to its end
	ReasonCheck    = "check"      // the shard is closed and idles; the reader asks GetRecords whether it has ended
	ReasonStopped  = "stopped"    // the loop was left
	ReasonCanceled = "canceled"   // the context ended
)
