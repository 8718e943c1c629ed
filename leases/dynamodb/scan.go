package dynamodb

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/kinesis-go/kcl/internal/pageguard"
)

// The bounds of the number of segments.
const (
	maxScanSegments     = 1000 // the largest Config.ScanSegments
	derivedScanSegments = 32   // the most that follow from a size
	unknownScanSegments = 10   // for a table of unknown size
)

// The times for which a size is remembered.
const (
	sizeAge        = 2 * time.Hour
	sizeUnknownAge = time.Minute // an unknown size
)

// scanSegments returns the number of segments for a table of a size: one for each 0.2 GB begun.
func scanSegments(bytes int64) int {
	const gb = 1 << 30
	return int(min(max((bytes*5+gb-1)/gb, 1), derivedScanSegments))
}

// tableSize remembers the number of segments in which the table is read.
type tableSize struct {
	configured int // Config.ScanSegments; 0 lets the size decide

	mu       sync.Mutex // guards the fields below
	segments int
	until    time.Time // when the size has to be asked for again
}

// segments returns the number of segments in which the table is read. It asks the service for the
// size of the table at most every two hours.
func (t *table) segments(ctx context.Context) int {
	switch {
	case t.side:
		return 1
	case t.size.configured > 0:
		return t.size.configured
	}
	t.size.mu.Lock()
	n, until := t.size.segments, t.size.until
	t.size.mu.Unlock()
	if n > 0 && time.Now().Before(until) {
		return n
	}
	d, err := t.describe(ctx)
	if err != nil {
		t.log(ctx).LogAttrs(ctx, slog.LevelDebug, "size of the lease table cannot be read", slog.Any("err", err))
		return t.size.remember(nil)
	}
	return t.size.remember(d.TableSizeBytes)
}

// remember keeps the number of segments for a size, and returns it. nil is an unknown size.
func (t *tableSize) remember(bytes *int64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if bytes == nil {
		t.segments, t.until = unknownScanSegments, time.Now().Add(sizeUnknownAge)
	} else {
		t.segments, t.until = scanSegments(*bytes), time.Now().Add(sizeAge)
	}
	return t.segments
}

// scan calls each for every item of the table, one at a time. It reads a large table in several
// segments at the same time.
func (t *table) scan(ctx context.Context, consistent bool, each func(item)) error {
	n := t.segments(ctx)
	if n == 1 {
		return t.scanSegment(ctx, &sdk.ScanInput{TableName: &t.name, ConsistentRead: &consistent}, each)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex // held while each runs
	locked := func(it item) {
		mu.Lock()
		defer mu.Unlock()
		each(it)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		in := &sdk.ScanInput{
			TableName: &t.name, ConsistentRead: &consistent,
			Segment: aws.Int32(int32(i)), TotalSegments: aws.Int32(int32(n)),
		}
		wg.Go(func() { // ends with its segment, or with the first error of any segment
			if errs[i] = t.scanSegment(ctx, in, locked); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	var first error
	for _, err := range errs {
		// The first error cancels the other segments. Their errors say less.
		if first == nil || errors.Is(first, context.Canceled) && err != nil {
			first = err
		}
	}
	return first
}

// scanSegment reads the items of one segment, page by page.
func (t *table) scanSegment(ctx context.Context, in *sdk.ScanInput, each func(item)) error {
	for pages := (pageguard.Guard{}); ; {
		page, err := callPage(ctx, t, "dynamodb:Scan", t.client.Scan, in)
		if err != nil {
			return err
		}
		for _, it := range page.Items {
			each(it)
		}
		// More pages may follow an empty one.
		if more, err := pages.Next("dynamodb:Scan", t.name, page.LastEvaluatedKey); !more {
			return err
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
}
