package kinesistest

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

// Page tokens and shard iterators are opaque to clients. They hold a kind, the time of issue and a
// content, in base64 with a checksum. A page token may be used for 300 seconds, an iterator for
// five minutes.
const (
	tokenShards    = "shards"
	tokenStreams   = "streams"
	tokenConsumers = "consumers"
	tokenIterator  = "iterator"
)

var tokenEncoding = base64.StdEncoding

// seal makes a token.
func seal(now time.Time, kind, content string) string {
	body := kind + "|" + strconv.FormatInt(now.UnixMilli(), 10) + "|" + content
	return tokenEncoding.EncodeToString(fmt.Appendf(nil, "%08x%s", crc32.ChecksumIEEE([]byte(body)), body))
}

// unseal reads a token of a kind.
func unseal(kind, token string) (issued time.Time, content string, ok bool) {
	raw, err := tokenEncoding.DecodeString(token)
	if err != nil || len(raw) < 8 {
		return time.Time{}, "", false
	}
	body := string(raw[8:])
	if fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))) != string(raw[:8]) {
		return time.Time{}, "", false
	}
	parts := strings.SplitN(body, "|", 3)
	if len(parts) != 3 || parts[0] != kind {
		return time.Time{}, "", false
	}
	ms, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return time.Time{}, "", false
	}
	return time.UnixMilli(ms), parts[2], true
}

// sealToken makes a page token.
func sealToken(now time.Time, kind, content string) string { return seal(now, kind, content) }

// openToken reads a page token that has not expired.
func openToken(now time.Time, kind, token string) (string, error) {
	issued, content, ok := unseal(kind, token)
	if !ok {
		return "", invalid("NextToken is invalid.")
	}
	if now.Sub(issued) > tokenLife {
		return "", errf(codeExpiredToken, "NextToken has expired. It was issued at %s and may be used for %d seconds.",
			issued.UTC().Format(time.RFC3339), int(tokenLife.Seconds()))
	}
	return content, nil
}

func itoa64(n int64) string { return strconv.FormatInt(n, 10) }

// millis reads a time that itoa64 wrote.
func millis(text string) timestamp {
	ms, _ := strconv.ParseInt(text, 10, 64) // tokens have a checksum
	return timestamp{time.UnixMilli(ms).UTC()}
}
