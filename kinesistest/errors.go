package kinesistest

import (
	"fmt"
	"net/http"
)

// apiError is an error in an answer of the service.
type apiError struct {
	status  int // of the HTTP answer; 0 means 400
	code    string
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func (e *apiError) httpStatus() int {
	if e.status == 0 {
		return http.StatusBadRequest
	}
	return e.status
}

// errorBody is the wire form of an apiError.
type errorBody struct {
	Type    string `json:"__type"`
	Message string `json:"message"`
}

// The codes that the service uses, byte for byte.
const (
	codeAccessDenied       = "AccessDeniedException"
	codeDryRun             = "DryRunOperationException"
	codeExpiredIterator    = "ExpiredIteratorException"
	codeExpiredToken       = "ExpiredNextTokenException"
	codeInternalFailure    = "InternalFailure"
	codeInvalidArgument    = "InvalidArgumentException"
	codeLimitExceeded      = "LimitExceededException"
	codeThroughputExceeded = "ProvisionedThroughputExceededException"
	codeResourceInUse      = "ResourceInUseException"
	codeResourceNotFound   = "ResourceNotFoundException"
	codeSerialization      = "SerializationException"
	codeUnknownOperation   = "UnknownOperationException"
	codeValidation         = "ValidationException"
)

func errf(code, format string, args ...any) *apiError {
	return &apiError{code: code, message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *apiError { return errf(codeInvalidArgument, format, args...) }

// constraint is the message of the service's own validation of requests.
func constraint(value any, member, rule string) *apiError {
	shown := "null"
	if value != nil {
		shown = fmt.Sprint(value)
	}
	return errf(codeValidation, "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: %s", shown,
		member, rule)
}

func missing(member string) *apiError { return constraint(nil, member, "Member must not be null") }
