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

	"github.com/kinesis-go/kcl/internal/shardread"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	code := func(c string) error {
		return fmt.Errorf("operation error: %w", &smithy.GenericAPIError{Code: c, Message: "no"})
	}
	for name, test := range map[string]struct {
		err  error
		want shardread.Action
	}{
		"modelled in use":      {&types.ResourceInUseException{}, shardread.InUse},
		"in use":               {code("ResourceInUseException"), shardread.InUse},
		"modelled not found":   {&types.ResourceNotFoundException{}, shardread.Lookup},
		"not found":            {code("ResourceNotFoundException"), shardread.Lookup},
		"argument":             {code("InvalidArgumentException"), shardread.Position},
		"limit":                {code("LimitExceededException"), shardread.Retry},
		"throughput":           {code("ProvisionedThroughputExceededException"), shardread.Retry},
		"throttled":            {code("ThrottlingException"), shardread.Retry},
		"internal in stream":   {&types.InternalFailureException{}, shardread.Retry},
		"internal":             {code("InternalFailure"), shardread.Retry},
		"unavailable":          {code("ServiceUnavailable"), shardread.Retry},
		"key throttled":        {&types.KMSThrottlingException{}, shardread.Retry},
		"key disabled":         {&types.KMSDisabledException{}, shardread.Slow},
		"key denied":           {&types.KMSAccessDeniedException{}, shardread.Slow},
		"key state":            {&types.KMSInvalidStateException{}, shardread.Slow},
		"key not found":        {&types.KMSNotFoundException{}, shardread.Slow},
		"key opt-in":           {&types.KMSOptInRequired{}, shardread.Slow},
		"denied":               {code("AccessDeniedException"), shardread.Denied},
		"unknown client":       {code("UnrecognizedClientException"), shardread.Denied},
		"signature":            {code("InvalidSignatureException"), shardread.Denied},
		"token expired":        {code("ExpiredTokenException"), shardread.Retry}, // the SDK fetches new credentials
		"validation":           {code("ValidationException"), shardread.Stop},
		"unknown operation":    {code("UnknownOperationException"), shardread.Stop},
		"never heard of":       {code("TeapotException"), shardread.Retry},
		"no answer":            {errNoAnswer, shardread.Retry},
		"silence":              {errSilence, shardread.Retry},
		"early end":            {errEarly, shardread.Retry},
		"transport":            {io.ErrUnexpectedEOF, shardread.Retry},
		"plain":                {errors.New("deserialize initial response: got <nil>"), shardread.Retry},
		"a context within the": {context.Canceled, shardread.Retry},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, classify(test.err), test.want)
		})
	}
}
