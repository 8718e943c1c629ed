package dynamotest

import (
	"fmt"
	"net/http"
)

// apiError is an error as the service sends it.
type apiError struct {
	code    string
	message string
	item    Item     // the old item of a failed condition
	reasons []reason // of a cancelled transaction, one for each of its items
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func (e *apiError) status() int {
	switch e.code {
	case "InternalServerError":
		return http.StatusInternalServerError
	case "ServiceUnavailable":
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// qualified is the code as the field __type has it.
func (e *apiError) qualified() string {
	switch e.code {
	case "ValidationException",
		"AccessDeniedException",
		"ThrottlingException",
		"SerializationException",
		"UnrecognizedClientException":
		return "com.amazon.coral.service#" + e.code
	}
	return "com.amazonaws.dynamodb.v20120810#" + e.code
}

func validation(message string) *apiError {
	return &apiError{code: "ValidationException", message: message}
}

func validationf(format string, args ...any) *apiError {
	return validation(fmt.Sprintf(format, args...))
}

func noTable(name string) *apiError {
	return &apiError{
		code:    "ResourceNotFoundException",
		message: "Requested resource not found: Table: " + name + " not found",
	}
}

// notReady is the error of item operations while the table is being made or deleted.
func notReady() *apiError {
	return &apiError{code: "ResourceNotFoundException", message: "Requested resource not found"}
}
