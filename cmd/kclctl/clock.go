package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go/middleware"
)

// clockTimeout bounds how long a service has to say the time.
const clockTimeout = 30 * time.Second

// serviceNow returns the present for a lease at LATEST. Workers compare it with arrival times of
// records, so a wrong clock of this machine must not matter. The time is that of DynamoDB, or of
// Kinesis for a table in Redis.
func (s *source) serviceNow(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, clockTimeout)
	defer cancel()
	var date time.Time
	var err error
	if s.kind() == kindRedis {
		date, err = s.kinesisDate(ctx)
	} else {
		date, err = s.dynamoDate(ctx)
	}
	if err == nil && date.IsZero() {
		err = errors.New("its answer has no Date")
	}
	if err != nil {
		return time.Time{}, fmt.Errorf(
			"the service does not say what time it is: give AT_TIMESTAMP@TIME instead of LATEST: %w", err)
	}
	return present(date, time.Now()), nil
}

// present returns the time of the service in milliseconds. The Date of an answer has whole seconds.
// The local clock adds the milliseconds where it agrees with the Date.
func present(date, local time.Time) time.Time {
	if d := local.Sub(date); d < 0 || d >= 2*time.Second { // the answer was under way for up to a second
		local = date
	}
	return local.UTC().Truncate(time.Millisecond)
}

func (s *source) dynamoDate(ctx context.Context) (time.Time, error) {
	client, err := s.dynamo(ctx)
	if err != nil {
		return time.Time{}, err
	}
	name := s.name()
	out, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
	if err != nil {
		return dateOf(middleware.Metadata{}, err)
	}
	return dateOf(out.ResultMetadata, nil)
}

func (s *source) kinesisDate(ctx context.Context) (time.Time, error) {
	client, err := s.kinesis(ctx, "")
	if err != nil {
		return time.Time{}, err
	}
	one := int32(1)
	out, err := client.ListStreams(ctx, &sdk.ListStreamsInput{Limit: &one})
	if err != nil {
		return dateOf(middleware.Metadata{}, err)
	}
	return dateOf(out.ResultMetadata, nil)
}

// dateOf reads the Date of an answer. A refusal has a Date too.
func dateOf(answer middleware.Metadata, err error) (time.Time, error) {
	if err == nil {
		date, _ := awsmiddleware.GetServerTime(answer)
		return date, nil
	}
	refusal, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || refusal.HTTPResponse() == nil {
		return time.Time{}, err
	}
	date, bad := http.ParseTime(refusal.HTTPResponse().Header.Get("Date"))
	if bad != nil {
		return time.Time{}, err
	}
	return date, nil
}
