package efo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	code := func(c string) error {
		return fmt.Errorf("operation error: %w", &smithy.GenericAPIError{Code: c, Message: "no"})
	}
	for name, test := range map[string]struct {
		err  error
		want action
	}{
		"modelled in use":      {&types.ResourceInUseException{}, actInUse},
		"in use":               {code("ResourceInUseException"), actInUse},
		"modelled not found":   {&types.ResourceNotFoundException{}, actLookup},
		"not found":            {code("ResourceNotFoundException"), actLookup},
		"argument":             {code("InvalidArgumentException"), actPosition},
		"limit":                {code("LimitExceededException"), actRetry},
		"throughput":           {code("ProvisionedThroughputExceededException"), actRetry},
		"throttled":            {code("ThrottlingException"), actRetry},
		"internal in stream":   {&types.InternalFailureException{}, actRetry},
		"internal":             {code("InternalFailure"), actRetry},
		"unavailable":          {code("ServiceUnavailable"), actRetry},
		"key throttled":        {&types.KMSThrottlingException{}, actRetry},
		"key disabled":         {&types.KMSDisabledException{}, actSlow},
		"key denied":           {&types.KMSAccessDeniedException{}, actSlow},
		"key state":            {&types.KMSInvalidStateException{}, actSlow},
		"key not found":        {&types.KMSNotFoundException{}, actSlow},
		"key opt-in":           {&types.KMSOptInRequired{}, actSlow},
		"denied":               {code("AccessDeniedException"), actDenied},
		"unknown client":       {code("UnrecognizedClientException"), actDenied},
		"signature":            {code("InvalidSignatureException"), actDenied},
		"token expired":        {code("ExpiredTokenException"), actRetry}, // the SDK fetches new credentials
		"validation":           {code("ValidationException"), actStop},
		"unknown operation":    {code("UnknownOperationException"), actStop},
		"never heard of":       {code("TeapotException"), actRetry},
		"no answer":            {errNoAnswer, actRetry},
		"silence":              {errSilence, actRetry},
		"early end":            {errEarly, actRetry},
		"transport":            {io.ErrUnexpectedEOF, actRetry},
		"plain":                {errors.New("deserialize initial response: got <nil>"), actRetry},
		"a context within the": {context.Canceled, actRetry},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, classify(test.err), test.want)
		})
	}
}
