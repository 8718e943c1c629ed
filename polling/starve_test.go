package polling_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/polling"
)

// byShard has a server for each beginning of a shard's name, which its iterators are as well.
type byShard map[string]*endless

func (b byShard) Do(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	for name, e := range b {
		if strings.Contains(string(body), name) {
			return e.Do(req)
		}
	}
	return nil, fmt.Errorf("unknown shard in %s", body)
}

// TestP07BlockedProcessorsOfLargeRecords: what is read ahead waits behind what is read now. Shards
// whose processors block, all together within the memory, do not stop a shard with small records.
func TestP07BlockedProcessorsOfLargeRecords(t *testing.T) { //nolint:paralleltest // it takes 64 MiB
	client := answeredBy(byShard{"large": newEndless(2560<<10, "large"), "small": newEndless(1000, "small")})
	synctest.Test(t, func(t *testing.T) {
		memory := polling.NewMemory(64 << 20)
		fetcher := func() *polling.Fetcher {
			return polling.NewFetcher(
				polling.Config{Client: client, StreamName: stream, Memory: memory, Logger: slog.New(slog.DiscardHandler)})
		}
		release := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 9 {
			time.Sleep(100 * time.Millisecond)
			wg.Go(func() {
				for range fetcher().Batches(t.Context(), fmt.Sprintf("large-%d", i), kcl.Position{}) {
					<-release
					return
				}
			})
		}
		time.Sleep(10 * time.Second) // all of them block
		began, batches := time.Now(), 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, err := range fetcher().Batches(t.Context(), "small", kcl.Position{}) {
				require.NoError(t, err)
				if batches++; batches == 10 {
					return
				}
			}
		}()
		select {
		case <-done:
		case <-time.After(time.Minute):
		}
		got := batches
		close(release)
		<-done
		wg.Wait()
		require.Equal(t, 10, got, "in %s", time.Since(began))
	})
}

// serve answers GetRecords by its iterator.
type serve func(iterator string) string

func (f serve) Do(req *http.Request) (*http.Response, error) {
	e := &endless{iterator: []byte(`{"ShardIterator":"first"}`)}
	if req.Header.Get("X-Amz-Target") == "Kinesis_20131202.GetRecords" {
		var in struct{ ShardIterator string }
		if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
			return nil, err
		}
		e.records = []byte(f(in.ShardIterator))
	}
	return e.Do(req)
}

// TestP07NoRoomForWhatIsReadAhead: an answer that turns out too large to be read ahead comes once,
// when the loop body is back.
func TestP07NoRoomForWhatIsReadAhead(t *testing.T) { //nolint:paralleltest // it takes 100 MiB
	large := string(newEndless(10<<20, "third").records)
	large = strings.Replace(
		strings.Replace(large, `"MillisBehindLatest":1`, `"MillisBehindLatest":0`, 1),
		`"SequenceNumber":"1"`,
		`"SequenceNumber":"2"`,
		1,
	)
	var calls []string
	client := answeredBy(serve(func(iterator string) string {
		calls = append(calls, iterator)
		if iterator == "first" {
			return `{"MillisBehindLatest":0,"NextShardIterator":"second","Records":[{"SequenceNumber":"1","Data":"eA=="}]}`
		}
		return large
	}))
	synctest.Test(t, func(t *testing.T) {
		var watch observer
		f := polling.NewFetcher(
			polling.Config{
				Client:     client,
				StreamName: stream,
				Memory:     polling.NewMemory(64 << 20),
				Observer:   &watch,
				Logger:     slog.New(slog.DiscardHandler),
			},
		)
		var got []string
		began := time.Now()
		for b, err := range f.Batches(t.Context(), "shardId-000000000000", kcl.Position{}) {
			require.NoError(t, err)
			got = append(got, b.Records[0].SequenceNumber())
			if len(got) == 2 {
				break
			}
			time.Sleep(2 * time.Second)
		}
		require.Equal(t, []string{"1", "2"}, got)
		require.Equal(t, []string{"first", "second", "second"}, calls[:3])
		require.GreaterOrEqual(t, time.Since(began), 6*time.Second, "what was not read counts at the service")
		require.Empty(t, watch.retried)
	})
}
