package protocol_test

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// exchange is a line of testdata/multilang.jsonl: what the Java MultiLangDaemon 3.1.3 and its
// Python children wrote.
type exchange struct {
	PID  int    `json:"pid"`
	Dir  string `json:"dir"`
	Line string `json:"line"`
}

// recorded reads the recorded lines of one direction.
func recorded(tb testing.TB, dir string) []string {
	tb.Helper()
	file, err := os.Open("testdata/multilang.jsonl")
	require.NoError(tb, err)
	defer file.Close()
	var lines []string
	for scan := bufio.NewScanner(file); scan.Scan(); {
		var e exchange
		require.NoError(tb, json.Unmarshal(scan.Bytes(), &e))
		if e.Dir == dir {
			lines = append(lines, e.Line)
		}
	}
	require.Greater(tb, len(lines), 40)
	return lines
}
