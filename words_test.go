package kcl_test

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
)

func TestJSONLogsReadAsWords(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("",
		"stream", kcl.StreamIdentifier{AccountID: "123456789012", Name: "orders", CreationEpoch: 7}, "position",
		kcl.After("12"), "from", kcl.InitialPosition{Kind: kcl.Latest})
	require.Contains(t, b.String(),
		`"stream":"123456789012:orders:7","position":"AFTER_SEQUENCE_NUMBER 12","from":"LATEST"`)
}
