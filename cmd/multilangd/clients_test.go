package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/aws/smithy-go/logging"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/cmd/multilangd/internal/settings"
)

// TestMessagesOfTheSDKAreLogged: lines on standard error have the form of -log-format.
func TestMessagesOfTheSDKAreLogged(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	c, err := newClients(t.Context(), settings.Config{Region: "us-east-1", Executable: []string{"child"}}, log)
	require.NoError(t, err)
	for _, logger := range []logging.Logger{c.aws.Logger, c.kinesis.Options().Logger, c.dynamoDB.Options().Logger} {
		out.Reset()
		logger.Logf(logging.Warn, "no %s\nfound", "role")
		logger.Logf(logging.Debug, "not shown")
		var line struct{ Level, Text string }
		require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
		require.Equal(t, "WARN", line.Level)
		require.Equal(t, "no role\nfound", line.Text)
	}
}

// TestChecksumsOfALocalTableAreNotWarnedOf: DynamoDB Local sends wrong checksums, and the SDK would
// warn of each answer to -check.
func TestChecksumsOfALocalTableAreNotWarnedOf(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	for endpoint, want := range map[string]bool{"": false, "http://127.0.0.1:8000": true} {
		cfg := settings.Config{Region: "us-east-1", Executable: []string{"child"}}
		cfg.DynamoDB.Endpoint = endpoint
		c, err := newClients(t.Context(), cfg, log)
		require.NoError(t, err)
		require.Equal(t, want, c.dynamoDB.Options().DisableValidateResponseChecksum, "endpoint %q", endpoint)
	}
}
