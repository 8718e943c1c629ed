package awserr_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
)

func answer(code string) error {
	return fmt.Errorf("operation error: %w", &smithy.GenericAPIError{Code: code, Message: "m"})
}

// TestCodeIsBounded: nothing that a server sends can make a new label value.
func TestCodeIsBounded(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"":                         nil,
		"ResourceInUseException":   answer("ResourceInUseException"),
		"other":                    answer("Ünknown\nException"),
		"timeout":                  fmt.Errorf("x: %w", context.DeadlineExceeded),
		"canceled":                 fmt.Errorf("x: %w", context.Canceled),
		"transport":                errors.New("connection reset by peer"),
		"AccessDeniedException":    answer("AccessDeniedException"),
		"KMSThrottlingException":   answer("KMSThrottlingException"),
		"InternalFailureException": answer("InternalFailureException"),
	} {
		require.Equal(t, want, awserr.Code(err))
	}
}

func TestDistinctions(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]struct{ throttled, denied, key bool }{
		"ProvisionedThroughputExceededException": {throttled: true},
		"LimitExceededException":                 {throttled: true},
		"KMSThrottlingException":                 {throttled: true},
		"AccessDeniedException":                  {denied: true},
		"UnrecognizedClientException":            {denied: true},
		"KMSDisabledException":                   {key: true},
		"KMSAccessDeniedException":               {key: true},
		"ResourceNotFoundException":              {},
	} {
		require.Equal(t, want.throttled, awserr.Throttled(answer(code)), code)
		require.Equal(t, want.denied, awserr.Denied(answer(code)), code)
		require.Equal(t, want.key, awserr.KeyUnusable(answer(code)), code)
		require.True(t, awserr.Is(answer(code), "x", code))
		require.False(t, awserr.Is(answer(code), "x"))
	}
	require.False(t, awserr.Throttled(errors.New("LimitExceededException")), "the text of an error says nothing")
}

func TestExplainNamesActionAndResource(t *testing.T) {
	t.Parallel()
	require.NoError(t, awserr.Explain(nil, "kinesis:ListShards", "arn"))
	denied := awserr.Explain(answer("AccessDeniedException"), "kinesis:ListShards", "arn:x")
	require.ErrorIs(t, denied, kcl.ErrAccessDenied)
	require.ErrorContains(t, denied, "allow kinesis:ListShards on arn:x")
	other := awserr.Explain(answer("InternalFailure"), "kinesis:ListShards", "arn:x")
	require.NotErrorIs(t, other, kcl.ErrAccessDenied)
	require.ErrorContains(t, other, "kinesis:ListShards arn:x")
	require.True(t, awserr.Is(other, "InternalFailure"), "the cause stays")
}

// TestRemedies: each names what is wrong. Only a missing permission is to be allowed, and a wrong
// clock is no denial.
func TestRemedies(t *testing.T) {
	t.Parallel()
	say := func(code, message string) error {
		return fmt.Errorf("operation error: %w", &smithy.GenericAPIError{Code: code, Message: message})
	}
	unsent := &smithy.OperationError{ServiceID: "Kinesis", Err: errors.New("get identity: no credentials")}
	for want, err := range map[string]error{
		"allow kinesis:GetRecords on arn:x": say("AccessDeniedException", "not authorized"),
		"clock of this host is wrong": say("InvalidSignatureException",
			"Signature not yet current: 20260101T001000Z is still later than 20260101T000000Z"),
		"check the secret access key": say("InvalidSignatureException",
			"The request signature we calculated does not match"),
		"does not know the access key": say("UnrecognizedClientException",
			"The security token included in the request is invalid"),
		"credentials have expired": say("ExpiredTokenException",
			"The security token included in the request is expired"),
		"has no credentials": say("MissingAuthenticationTokenException", "Missing Authentication Token"),
		"could not be sent":  unsent,
	} {
		got := awserr.Explain(err, "kinesis:GetRecords", "arn:x")
		require.ErrorContains(t, got, want)
		require.Equal(t, want == "allow kinesis:GetRecords on arn:x", strings.Contains(got.Error(), "allow "), got)
		require.Equal(t, awserr.Denied(err), errors.Is(got, kcl.ErrAccessDenied), got)
	}
	require.True(t, awserr.NotSent(unsent))
	require.False(t, awserr.NotSent(errors.New("of a store of the user's")), "nothing is known of other errors")
	require.False(t, awserr.NotSent(&smithy.OperationError{Err: context.DeadlineExceeded}))
	require.False(t, awserr.Denied(say("InvalidSignatureException", "Signature expired: x")))
}
