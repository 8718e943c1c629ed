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

	// ErrTooManyConsumers says that the stream has as many consumers as it may.
	// The wrapping error lists them: deregister one, or use its ARN.
	ErrTooManyConsumers = errors.New("efo: no more consumers can be registered with the stream")

	// ErrConsumerTaken says that another application made the stream consumer of
	// that name. Two that share one take every shard from each other every few
	// seconds: choose another name.
	ErrConsumerTaken = errors.New("efo: stream consumer belongs to another application")

	// ErrConsumerNotReady says that the consumer did not become ACTIVE in time.
	ErrConsumerNotReady = errors.New("efo: stream consumer is not ready")
)

// What ends an attempt from this side. They reach the observer and the log.
var (
	errNoAnswer = fmt.Errorf("SubscribeToShard was not answered in time: %w", context.DeadlineExceeded)
	errSilence  = fmt.Errorf("no event for longer than SilenceTimeout: %w", context.DeadlineExceeded)
	errEarly    = errors.New("the subscription ended before its five minutes, without a reason")
	errDoubtful = errors.New("the stream says that the shard has ended, but names no children or is not at the tip")
)

// errNoDescription says that the service answered about a stream consumer without saying anything.
var errNoDescription = errors.New("the answer of DescribeStreamConsumer has no ConsumerDescription")

// Why a subscription that had been accepted ended: the reason label of
// kcl_subscriptions_ended_total. Besides these, the codes of internal/awserr
// are used, a list that is fixed as well.
const (
	ReasonExpired  = "expired_5m" // the service ended it after five minutes
	ReasonRenewed  = "renewed"    // we ended it early, to spread the renewals of many shards
	ReasonClosed   = "closed"     // it ended early without an error
	ReasonSilence  = "silence"    // no event for SilenceTimeout
	ReasonTakeover = "takeover"   // another subscriber took the shard over
	ReasonShardEnd = "shard_end"  // the shard has been read to its end
	ReasonCheck    = "check"      // idle on a closed shard; GetRecords is asked whether it has ended
	ReasonStopped  = "stopped"    // the loop was left
	ReasonCanceled = "canceled"   // the context ended
)
