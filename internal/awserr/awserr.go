// Package awserr reads the errors of the AWS SDK: the service's code from a
// bounded list, for metrics, and the distinctions that efo, polling, scheduler
// and the DynamoDB store share.
package awserr

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/smithy-go"

	"github.com/kinesis-go/kcl"
)

// codes are the service error codes that may become a label value. Anything
// else counts as "other", so that a series can never be made by a message.
var codes = []string{
	"AccessDeniedException", "ConditionalCheckFailedException", "ExpiredIteratorException",
	"ExpiredNextTokenException", "InternalFailure", "InternalFailureException", "InternalServerError",
	"InvalidArgumentException", "KMSAccessDeniedException", "KMSDisabledException",
	"KMSInvalidStateException", "KMSNotFoundException", "KMSOptInRequired", "KMSThrottlingException",
	"LimitExceededException", "ProvisionedThroughputExceededException", "RequestLimitExceeded",
	"ResourceInUseException", "ResourceNotFoundException", "ServiceUnavailable",
	"ThrottlingException", "UnrecognizedClientException", "ValidationException",
	"ExpiredTokenException", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationTokenException",
}

// Code returns the service's error code, "timeout" for an expired deadline,
// "canceled", "other" for a code outside the list, and "transport" for an
// error that no service answered.
func Code(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		if slices.Contains(codes, api.ErrorCode()) {
			return api.ErrorCode()
		}
		return "other"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "transport"
}

// Is tells whether the service answered with one of the codes.
func Is(err error, code ...string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(code, api.ErrorCode())
}

// Throttled tells whether the service asked to slow down.
func Throttled(err error) bool {
	return Is(err, "ProvisionedThroughputExceededException", "LimitExceededException", "ThrottlingException", "RequestLimitExceeded", "KMSThrottlingException")
}

// KeyUnusable tells whether the key that encrypts the stream cannot be used,
// which stays so until a person changes it. A key that is merely throttled is
// not meant.
func KeyUnusable(err error) bool {
	return Is(err, "KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException", "KMSOptInRequired")
}

// Denied tells whether the credentials are wrong or lack a permission.
func Denied(err error) bool {
	return Is(err, "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException",
		"IncompleteSignature", "MissingAuthenticationTokenException")
}

// Explain wraps an error about missing permissions with [kcl.ErrAccessDenied],
// naming the action to allow, such as kinesis:ListShards, and the resource.
// Other errors come back with action and resource in front.
func Explain(err error, action, resource string) error {
	if err == nil {
		return nil
	}
	if Denied(err) {
		return fmt.Errorf("%w: allow %s on %s for these credentials: %w", kcl.ErrAccessDenied, action, resource, err)
	}
	return fmt.Errorf("%s %s: %w", action, resource, err)
}
