package kinesistest_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/kinesistest"
)

func toolStream(onDemand bool) kinesistest.Config {
	return kinesistest.Config{
		Streams:       []kinesistest.StreamConfig{{Name: testStream, OnDemand: onDemand}},
		DisableLimits: true,
	}
}

func TestResourcePolicies(t *testing.T) {
	withConfig(t, toolStream(false), func(t *testing.T, e env) {
		ctx := t.Context()
		consumer, err := e.cl.RegisterStreamConsumer(ctx,
			&kinesis.RegisterStreamConsumerInput{
				StreamARN:    aws.String(e.srv.StreamARN(testStream)),
				ConsumerName: aws.String("c"),
			})
		require.NoError(t, err)
		const policy = `{"Version":"2012-10-17","Statement":[]}`
		for _, arn := range []string{e.srv.StreamARN(testStream), *consumer.Consumer.ConsumerARN} {
			put := func(policy string) error {
				_, err := e.cl.PutResourcePolicy(ctx, &kinesis.PutResourcePolicyInput{ResourceARN: &arn, Policy: &policy})
				return err
			}
			get := func() (string, error) {
				out, err := e.cl.GetResourcePolicy(ctx, &kinesis.GetResourcePolicyInput{ResourceARN: &arn})
				if err != nil {
					return "", err
				}
				return *out.Policy, nil
			}
			_, err := get()
			requireCode(t, "ResourceNotFoundException", err)
			requireCode(t, "InvalidArgumentException", put("allow"))
			requireCode(t, "ValidationException", put(""))
			require.NoError(t, put(policy))
			got, err := get()
			require.NoError(t, err)
			require.JSONEq(t, policy, got)
			_, err = e.cl.DeleteResourcePolicy(ctx, &kinesis.DeleteResourcePolicyInput{ResourceARN: &arn})
			require.NoError(t, err)
			_, err = e.cl.DeleteResourcePolicy(ctx, &kinesis.DeleteResourcePolicyInput{ResourceARN: &arn})
			requireCode(t, "ResourceNotFoundException", err)
		}
		_, err = e.cl.GetResourcePolicy(ctx,
			&kinesis.GetResourcePolicyInput{ResourceARN: aws.String(e.srv.StreamARN("other"))})
		requireCode(t, "ResourceNotFoundException", err)
	})
}

func TestEnhancedMonitoring(t *testing.T) {
	withConfig(t, toolStream(false), func(t *testing.T, e env) {
		ctx, name := t.Context(), aws.String(testStream)
		out, err := e.cl.EnableEnhancedMonitoring(ctx, &kinesis.EnableEnhancedMonitoringInput{
			StreamName: name, ShardLevelMetrics: []types.MetricsName{
				types.MetricsNameOutgoingBytes,
				types.MetricsNameIncomingBytes,
			},
		})
		require.NoError(t, err)
		require.Empty(t, out.CurrentShardLevelMetrics)
		require.Equal(t, []types.MetricsName{types.MetricsNameIncomingBytes, types.MetricsNameOutgoingBytes},
			out.DesiredShardLevelMetrics)
		require.Equal(t, e.srv.StreamARN(testStream), *out.StreamARN)
		_, err = e.cl.EnableEnhancedMonitoring(ctx, &kinesis.EnableEnhancedMonitoringInput{
			StreamName:        name,
			ShardLevelMetrics: []types.MetricsName{types.MetricsNameAll},
		})
		requireCode(t, "ResourceInUseException", err)
		e.settle()
		described, err := e.cl.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: name})
		require.NoError(t, err)
		require.Equal(t, out.DesiredShardLevelMetrics, described.StreamDescription.EnhancedMonitoring[0].ShardLevelMetrics)
		_, err = e.cl.EnableEnhancedMonitoring(ctx, &kinesis.EnableEnhancedMonitoringInput{
			StreamName:        name,
			ShardLevelMetrics: []types.MetricsName{types.MetricsNameAll},
		})
		require.NoError(t, err)
		e.settle()
		off, err := e.cl.DisableEnhancedMonitoring(ctx, &kinesis.DisableEnhancedMonitoringInput{
			StreamName:        name,
			ShardLevelMetrics: []types.MetricsName{types.MetricsNameIncomingBytes},
		})
		require.NoError(t, err)
		require.Len(t, off.CurrentShardLevelMetrics, 7)
		require.Len(t, off.DesiredShardLevelMetrics, 6)
		e.settle()
		_, err = e.cl.DisableEnhancedMonitoring(ctx, &kinesis.DisableEnhancedMonitoringInput{
			StreamName:        name,
			ShardLevelMetrics: []types.MetricsName{types.MetricsNameAll},
		})
		require.NoError(t, err)
		e.settle()
		summary, err := e.summary(testStream)
		require.NoError(t, err)
		require.Empty(t, summary.EnhancedMonitoring[0].ShardLevelMetrics)
		_, err = e.cl.EnableEnhancedMonitoring(ctx,
			&kinesis.EnableEnhancedMonitoringInput{StreamName: name, ShardLevelMetrics: []types.MetricsName{"Weight"}})
		requireCode(t, "ValidationException", err)
		_, err = e.cl.EnableEnhancedMonitoring(ctx,
			&kinesis.EnableEnhancedMonitoringInput{StreamName: name, ShardLevelMetrics: []types.MetricsName{}})
		requireCode(t, "ValidationException", err)
	})
}

func (e env) commit(
	status types.MinimumThroughputBillingCommitmentInputStatus,
) (*types.MinimumThroughputBillingCommitmentOutput, error) {
	out, err := e.cl.UpdateAccountSettings(e.t.Context(), &kinesis.UpdateAccountSettingsInput{
		MinimumThroughputBillingCommitment: &types.MinimumThroughputBillingCommitmentInput{Status: status},
	})
	if err != nil {
		return nil, err
	}
	return out.MinimumThroughputBillingCommitment, nil
}

func TestAccountSettings(t *testing.T) {
	withConfig(t, toolStream(false), func(t *testing.T, e env) {
		status := func() types.MinimumThroughputBillingCommitmentOutputStatus {
			out, err := e.cl.DescribeAccountSettings(t.Context(), &kinesis.DescribeAccountSettingsInput{})
			require.NoError(t, err)
			return out.MinimumThroughputBillingCommitment.Status
		}
		require.Equal(t, types.MinimumThroughputBillingCommitmentOutputStatusDisabled, status())
		on, err := e.commit(types.MinimumThroughputBillingCommitmentInputStatusEnabled)
		require.NoError(t, err)
		require.Equal(t, 24*time.Hour, on.EarliestAllowedEndAt.Sub(*on.StartedAt))
		require.Equal(t, types.MinimumThroughputBillingCommitmentOutputStatusEnabled, status())
		off, err := e.commit(types.MinimumThroughputBillingCommitmentInputStatusDisabled)
		require.NoError(t, err)
		require.Equal(t, types.MinimumThroughputBillingCommitmentOutputStatusEnabledUntilEarliestAllowedEnd, off.Status)
		_, err = e.commit(types.MinimumThroughputBillingCommitmentInputStatusEnabled)
		require.NoError(t, err)
		time.Sleep(25 * time.Hour)
		require.Equal(t, types.MinimumThroughputBillingCommitmentOutputStatusEnabled, status(), "the end was taken back")
		off, err = e.commit(types.MinimumThroughputBillingCommitmentInputStatusDisabled)
		require.NoError(t, err)
		require.Equal(t, types.MinimumThroughputBillingCommitmentOutputStatusDisabled, off.Status)
		require.NotNil(t, off.EndedAt)
		_, err = e.commit("MAYBE")
		requireCode(t, "ValidationException", err)
	})
}

func TestWarmThroughput(t *testing.T) {
	update := func(e env, mib int32) (*kinesis.UpdateStreamWarmThroughputOutput, error) {
		return e.cl.UpdateStreamWarmThroughput(e.t.Context(),
			&kinesis.UpdateStreamWarmThroughputInput{StreamName: aws.String(testStream), WarmThroughputMiBps: &mib})
	}
	withConfig(t, toolStream(false), func(t *testing.T, e env) {
		_, err := e.commit(types.MinimumThroughputBillingCommitmentInputStatusEnabled)
		require.NoError(t, err)
		_, err = update(e, 100)
		requireCode(t, "InvalidArgumentException", err)
	})
	withConfig(t, toolStream(true), func(t *testing.T, e env) {
		_, err := update(e, 100)
		requireCode(t, "InvalidArgumentException", err)
		_, err = e.commit(types.MinimumThroughputBillingCommitmentInputStatusEnabled)
		require.NoError(t, err)
		_, err = update(e, 1<<20)
		requireCode(t, "LimitExceededException", err)
		_, err = update(e, -1)
		requireCode(t, "ValidationException", err)
		out, err := update(e, 100)
		require.NoError(t, err)
		require.EqualValues(t, 100, *out.WarmThroughput.TargetMiBps)
		require.Zero(t, *out.WarmThroughput.CurrentMiBps)
		e.settle()
		summary, err := e.summary(testStream)
		require.NoError(t, err)
		require.EqualValues(t, 100, *summary.WarmThroughput.CurrentMiBps)
	})
}
