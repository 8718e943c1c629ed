package kinesistest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/kinesistest"
)

func (e env) register(name string) (*types.Consumer, error) {
	out, err := e.cl.RegisterStreamConsumer(e.t.Context(),
		&kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(e.srv.StreamARN(testStream)), ConsumerName: &name})
	if err != nil {
		return nil, err
	}
	return out.Consumer, nil
}

func (e env) describeConsumer(in kinesis.DescribeStreamConsumerInput) (*types.ConsumerDescription, error) {
	out, err := e.cl.DescribeStreamConsumer(e.t.Context(), &in)
	if err != nil {
		return nil, err
	}
	return out.ConsumerDescription, nil
}

// TestConsumerLife: CREATING, ACTIVE, DELETING, gone; the ARN ends with the creation time, and a
// new registration has a new ARN.
func TestConsumerLife(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		c, err := e.register("app")
		require.NoError(t, err)
		require.Equal(t, types.ConsumerStatusCreating, c.ConsumerStatus)
		require.Equal(t, fmt.Sprintf("%s/consumer/app:%d", e.srv.StreamARN(testStream), c.ConsumerCreationTimestamp.Unix()),
			*c.ConsumerARN)
		_, err = e.register("app")
		requireCode(t, "ResourceInUseException", err)

		byARN := kinesis.DescribeStreamConsumerInput{ConsumerARN: c.ConsumerARN}
		byName := kinesis.DescribeStreamConsumerInput{
			StreamARN:    aws.String(e.srv.StreamARN(testStream)),
			ConsumerName: aws.String("app"),
		}
		both := byName
		both.ConsumerARN = c.ConsumerARN
		e.settle()
		for _, in := range []kinesis.DescribeStreamConsumerInput{byARN, byName, both} {
			d, err := e.describeConsumer(in)
			require.NoError(t, err)
			require.Equal(t, types.ConsumerStatusActive, d.ConsumerStatus)
			require.Equal(t, *c.ConsumerARN, *d.ConsumerARN)
			require.Equal(t, e.srv.StreamARN(testStream), *d.StreamARN)
			require.True(t, c.ConsumerCreationTimestamp.Equal(*d.ConsumerCreationTimestamp))
		}
		_, err = e.cl.DeregisterStreamConsumer(e.t.Context(),
			&kinesis.DeregisterStreamConsumerInput{ConsumerARN: c.ConsumerARN})
		require.NoError(t, err)
		d, err := e.describeConsumer(byName)
		require.NoError(t, err)
		require.Equal(t, types.ConsumerStatusDeleting, d.ConsumerStatus)
		_, err = e.register("app")
		requireCode(t, "ResourceInUseException", err)
		e.settle()
		_, err = e.describeConsumer(byName)
		requireCode(t, "ResourceNotFoundException", err)

		again, err := e.register("app")
		require.NoError(t, err)
		require.NotEqual(t, *c.ConsumerARN, *again.ConsumerARN)
		_, err = e.describeConsumer(byARN)
		requireCode(t, "ResourceNotFoundException", err)
	})
}

func TestConsumerRefused(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		_, err := e.register("a b")
		requireCode(t, "ValidationException", err)
		_, err = e.register(strings.Repeat("x", 129))
		requireCode(t, "ValidationException", err)
		_, err = e.cl.RegisterStreamConsumer(e.t.Context(),
			&kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(e.srv.StreamARN("nope")), ConsumerName: aws.String("c")})
		requireCode(t, "ResourceNotFoundException", err)
		_, err = e.describeConsumer(kinesis.DescribeStreamConsumerInput{})
		requireCode(t, "InvalidArgumentException", err)
		_, err = e.describeConsumer(kinesis.DescribeStreamConsumerInput{StreamARN: aws.String(e.srv.StreamARN(testStream))})
		requireCode(t, "InvalidArgumentException", err)
		_, err = e.describeConsumer(kinesis.DescribeStreamConsumerInput{ConsumerARN: aws.String(e.srv.StreamARN(testStream))})
		requireCode(t, "ValidationException", err)
		_, err = e.describeConsumer(kinesis.DescribeStreamConsumerInput{
			ConsumerARN:  aws.String(e.consumer("c")),
			ConsumerName: aws.String("d"),
		})
		requireCode(t, "InvalidArgumentException", err)
		_, err = e.cl.DeregisterStreamConsumer(e.t.Context(),
			&kinesis.DeregisterStreamConsumerInput{
				StreamARN:    aws.String(e.srv.StreamARN(testStream)),
				ConsumerName: aws.String("nope"),
			})
		requireCode(t, "ResourceNotFoundException", err)
	})
}

// TestConsumerLimits: five CREATING at once, twenty in all, five registrations a second.
func TestConsumerLimits(t *testing.T) {
	cfg := kinesistest.Config{StateDelay: 10 * time.Second, Streams: []kinesistest.StreamConfig{{Name: testStream}}}
	withConfig(t, cfg, func(t *testing.T, e env) {
		for i := range 5 {
			_, err := e.register(fmt.Sprint("c", i))
			require.NoError(t, err)
		}
		_, err := e.register("more")
		require.Contains(t, requireCode(t, "LimitExceededException", err).ErrorMessage(), "Rate exceeded")
		pass(time.Second)
		_, err = e.register("more")
		require.Contains(t, requireCode(t, "LimitExceededException", err).ErrorMessage(), "CREATING")
		pass(10 * time.Second)
		for i := range 15 {
			e.consumer(fmt.Sprint("d", i))
		}
		_, err = e.register("more")
		require.Contains(t, requireCode(t, "LimitExceededException", err).ErrorMessage(), "maximum of 20")
	})
	cfg.DisableLimits = true
	withConfig(t, cfg, func(t *testing.T, e env) {
		for i := range 30 {
			_, err := e.register(fmt.Sprint("c", i))
			require.NoError(t, err)
		}
	})
}

func TestListStreamConsumers(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		for i := range 5 {
			e.consumer(fmt.Sprint("c", i))
		}
		arn := aws.String(e.srv.StreamARN(testStream))
		pages := kinesis.NewListStreamConsumersPaginator(e.cl,
			&kinesis.ListStreamConsumersInput{StreamARN: arn, MaxResults: aws.Int32(2)})
		var names []string
		var token *string
		for pages.HasMorePages() {
			out, err := pages.NextPage(e.t.Context())
			require.NoError(t, err)
			for _, c := range out.Consumers {
				names = append(names, *c.ConsumerName)
				require.Equal(t, types.ConsumerStatusActive, c.ConsumerStatus)
			}
			if out.NextToken != nil {
				token = out.NextToken
			}
		}
		require.Equal(t, []string{"c0", "c1", "c2", "c3", "c4"}, names)
		time.Sleep(301 * time.Second)
		_, err := e.cl.ListStreamConsumers(e.t.Context(), &kinesis.ListStreamConsumersInput{StreamARN: arn, NextToken: token})
		requireCode(t, "ExpiredNextTokenException", err)
		_, err = e.cl.ListStreamConsumers(e.t.Context(),
			&kinesis.ListStreamConsumersInput{StreamARN: arn, NextToken: aws.String("x")})
		requireCode(t, "InvalidArgumentException", err)
		_, err = e.cl.ListStreamConsumers(e.t.Context(),
			&kinesis.ListStreamConsumersInput{StreamARN: arn, StreamCreationTimestamp: aws.Time(time.Unix(1, 0))})
		requireCode(t, "ResourceNotFoundException", err)
	})
}

// TestConsumerTags: tags given at the registration are there at once, and need a permission of
// their own.
func TestConsumerTags(t *testing.T) {
	var denied []string
	cfg := kinesistest.Config{
		Streams: []kinesistest.StreamConfig{{Name: testStream}},
		Deny: func(op, resource string) bool {
			if op != "TagResource" || !strings.Contains(resource, "/consumer/refused:") {
				return false
			}
			denied = append(denied, resource)
			return true
		},
	}
	withConfig(t, cfg, func(t *testing.T, e env) {
		in := &kinesis.RegisterStreamConsumerInput{
			StreamARN: aws.String(e.srv.StreamARN(testStream)), ConsumerName: aws.String("tagged"),
			Tags: map[string]string{"a": "b"},
		}
		c, err := e.cl.RegisterStreamConsumer(t.Context(), in)
		require.NoError(t, err)
		tags, err := e.cl.ListTagsForResource(t.Context(),
			&kinesis.ListTagsForResourceInput{ResourceARN: c.Consumer.ConsumerARN})
		require.NoError(t, err)
		require.Equal(t, []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}, tags.Tags)

		in.ConsumerName = aws.String("refused")
		_, err = e.cl.RegisterStreamConsumer(t.Context(), in)
		requireCode(t, "AccessDeniedException", err)
		require.ErrorContains(t, err, "kinesis:TagResource")
		require.Len(t, denied, 1)
		in.Tags = nil
		_, err = e.cl.RegisterStreamConsumer(t.Context(), in)
		require.NoError(t, err)
	})
}
