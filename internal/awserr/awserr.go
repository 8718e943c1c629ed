// Package awserr reads the errors of the AWS SDK. It takes the service's code from a fixed list,
// for metrics, and makes the distinctions that efo, polling, scheduler and leases/dynamodb share.
package awserr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kinesis-go/kcl"
)

// codes are the error codes that may become a label value. Any other code counts as "other", so
// that the text of an error cannot make a new series.
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

// Code returns the service's error code; "timeout" for an expired deadline; "canceled"; "other" for
// a code outside the list, and for a 4xx or 5xx answer without a code; and "transport" for an error
// without an answer.
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
	case status(err) >= http.StatusBadRequest:
		return "other"
	}
	return "transport"
}

// status is the HTTP status of the answer; 0 when there was none.
func status(err error) int {
	e, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok || e.Response == nil || e.Response.Response == nil {
		return 0
	}
	return e.Response.StatusCode
}

// NotSent tells whether a call failed before anything was sent: without a region,
// without credentials, or with an endpoint that is no URL.
func NotSent(err error) bool {
	if _, call := errors.AsType[*smithy.OperationError](err); !call || status(err) > 0 || ended(err) {
		return false
	}
	if _, answered := errors.AsType[smithy.APIError](err); answered {
		return false
	}
	if _, sent := errors.AsType[*smithyhttp.RequestSendError](err); sent {
		u, ok := errors.AsType[*url.Error](err)
		return ok && strings.HasPrefix(u.Err.Error(), "unsupported protocol scheme")
	}
	return true
}

// Foreign tells whether another server than the service answered: with a page, or with a refusal
// without an error code. The endpoint leads to another server, or a proxy is in between. A 5xx
// answer is not foreign, because it passes.
func Foreign(err error) bool {
	at := status(err)
	switch {
	case at == 0, at >= http.StatusInternalServerError, ended(err):
		return false
	case at == http.StatusRequestTimeout, at == http.StatusTooManyRequests:
		return false
	}
	if bad, ok := errors.AsType[*smithy.DeserializationError](err); ok {
		// An answer of the service that was cut off is not a page: some of it could be read.
		return at >= http.StatusMultipleChoices || strings.Contains(bad.Error(), "offset 0")
	}
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && (api.ErrorCode() == "UnknownError" || api.ErrorCode() == "UnknownOperationException")
}

// ended tells whether a context or a connection ended during the call.
func ended(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, io.ErrUnexpectedEOF)
}

// Cut tells whether an answer began and was cut off.
func Cut(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return ended(err) || errors.Is(err, io.EOF)
}

// Skewed tells whether the clocks of this host and the service differ too much. The SDK corrects
// its time by the difference, so the next call may succeed.
func Skewed(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture":
		return true
	case "InvalidSignatureException", "SignatureDoesNotMatch":
		// A wrong key has the same code. Only the text differs.
		text := strings.ToLower(api.ErrorMessage())
		return strings.Contains(text, "signature expired") || strings.Contains(text, "signature not yet current")
	}
	return false
}

// Is tells whether the service answered with one of the codes.
func Is(err error, code ...string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(code, api.ErrorCode())
}

// Throttled tells whether the service asked to slow down.
func Throttled(err error) bool {
	return Is(err, "ProvisionedThroughputExceededException", "LimitExceededException", "ThrottlingException",
		"RequestLimitExceeded", "KMSThrottlingException")
}

// KeyUnusable tells whether the key that encrypts the stream cannot be used until a person changes
// it. A key that is only throttled does not count.
func KeyUnusable(err error) bool {
	return Is(err, "KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException",
		"KMSNotFoundException", "KMSOptInRequired")
}

// Denied tells whether the credentials are wrong or lack a permission. A wrong clock does not
// count, because it passes.
func Denied(err error) bool {
	return !Skewed(err) && Is(err, "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException",
		"IncompleteSignature", "MissingAuthenticationTokenException")
}

// Explain adds a remedy to an error of an action, such as kinesis:ListShards, on a resource.
// Refused credentials and missing permissions are wrapped with [kcl.ErrAccessDenied]. For a missing
// permission, the remedy is to allow the action. Without a remedy, action and resource come first.
func Explain(err error, action, resource string) error {
	if err == nil {
		return nil
	}
	do := remedy(err)
	switch {
	case do != "" && Denied(err):
		return fmt.Errorf("%w: %s %s: %s: %w", kcl.ErrAccessDenied, action, resource, do, err)
	case do != "":
		return fmt.Errorf("%s %s: %s: %w", action, resource, do, err)
	case Denied(err):
		return fmt.Errorf("%w: allow %s on %s for these credentials: %w", kcl.ErrAccessDenied, action, resource, err)
	}
	return fmt.Errorf("%s %s: %w", action, resource, err)
}

// remedy says what to do about an error, missing permissions aside. It is "" if nothing is known.
func remedy(err error) string {
	switch {
	case Skewed(err):
		return "the clock of this host is wrong: set it, best with NTP"
	case Is(err, "ExpiredTokenException", "ExpiredToken"):
		return "the credentials have expired: renew them, and give the client a provider that does so by itself"
	case Is(err, "UnrecognizedClientException", "InvalidClientTokenId"):
		return "the service does not know the access key or the session token: " +
			"check the credentials, and that they are of this partition and region"
	case Is(err, "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature"):
		return "the signature is wrong: check the secret access key, and that no proxy changes requests"
	case Is(err, "MissingAuthenticationTokenException"):
		return "the request has no credentials: " +
			"give the client a credentials provider, such as that of config.LoadDefaultConfig"
	case NotSent(err):
		return "the request could not be sent: check the client's Region, Credentials and BaseEndpoint " +
			"(with http:// or https://), as config.LoadDefaultConfig fills them in"
	case Foreign(err):
		return "another server than this service answers: check the client's BaseEndpoint, and proxies on the way"
	}
	return ""
}
