package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/leases"
)

// isWorker tells whether an item of the lease table is the metrics of a worker.
func isWorker(it item) bool {
	if it[attrEntityType] != nil {
		return textOf(it, attrEntityType) == entityWorker
	}
	return !isLease(it) && it[attrMetricsLastUpdated] != nil
}

// encodeSeconds encodes a time in whole seconds.
func encodeSeconds(t time.Time) (types.AttributeValue, error) {
	if _, err := formatSeconds(t); err != nil {
		return nil, err
	}
	return integer(t.Unix()), nil
}

// encodeLists encodes a map of lists of numbers.
func encodeLists(m map[string][]float64, format func(float64) (string, error)) (types.AttributeValue, error) {
	out := item{}
	for name, values := range m {
		if name == "" || len(values) == 0 || len(values) > maxSamples {
			return nil, fmt.Errorf("metric %q has %d values, want 1 to %d", name, len(values), maxSamples)
		}
		list := make([]types.AttributeValue, len(values))
		for i, v := range values {
			s, err := format(v)
			if err != nil {
				return nil, fmt.Errorf("metric %q: %w", name, err)
			}
			list[i] = num(s)
		}
		out[name] = &types.AttributeValueMemberL{Value: list}
	}
	return &types.AttributeValueMemberM{Value: out}, nil
}

// formatSample formats a sample as Java formats a double.
func formatSample(f float64) (string, error) {
	switch {
	case math.IsNaN(f) || f < -1 || f > 1e9:
		return "", fmt.Errorf("%v is not a sample", f)
	case f < 0:
		return "-" + formatThroughput(-f), nil
	case f < 1e-9:
		return formatThroughput(0), nil
	}
	return formatThroughput(f), nil
}

// formatRange formats an element of an operating range. Java reads whole numbers.
func formatRange(f float64) (string, error) {
	if math.IsNaN(f) || f < 0 || f > 1e9 || f != math.Trunc(f) {
		return "", fmt.Errorf("%v is not a whole percentage", f)
	}
	return strconv.FormatInt(int64(f), 10), nil
}

// encodeWorker returns the attributes of the metrics of a worker in table t. absent are the names
// of attributes that have to be removed.
func encodeWorker(t *table, m leases.WorkerMetrics) (it item, absent []string, err error) {
	it = t.entity(m.Worker, entityWorker)
	var problems []error
	set := func(name string, v types.AttributeValue, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
			return
		}
		it[name] = v
	}
	if m.Worker == "" {
		problems = append(problems, errors.New("the worker has no id"))
	}
	v, err := encodeSeconds(m.Updated)
	set(attrMetricsLastUpdated, v, err)
	v, err = encodeLists(m.Stats, formatSample)
	set(attrMetricsStats, v, err)
	v, err = encodeLists(m.Range, formatRange)
	set(attrMetricsRange, v, err)
	switch {
	case m.Support < 0:
		problems = append(problems, fmt.Errorf("%s: %d is negative", attrMetricsSupport, m.Support))
	case m.Support == 0:
		absent = append(absent, attrMetricsSupport)
	default:
		it[attrMetricsSupport] = integer(int64(m.Support))
	}
	if m.SupportUpdated.IsZero() {
		absent = append(absent, attrMetricsSupportAt)
	} else {
		v, err = encodeSeconds(m.SupportUpdated)
		set(attrMetricsSupportAt, v, err)
	}
	if m.Native {
		it[attrNativeWorker] = &types.AttributeValueMemberBOOL{Value: true}
	} else {
		absent = append(absent, attrNativeWorker)
	}
	if m.MaxLeases == 0 {
		absent = append(absent, attrMaxLeases)
	} else {
		it[attrMaxLeases] = integer(max(0, int64(m.MaxLeases)))
	}
	if m.Handover < time.Second {
		absent = append(absent, attrHandover)
	} else {
		it[attrHandover] = integer(int64(m.Handover / time.Second))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, nil, fmt.Errorf("metrics of worker %q cannot be written: %w", m.Worker, err)
	}
	return it, absent, nil
}

// numberLists reads a map of lists of numbers. It returns nil when the map is absent.
func (r *reader) numberLists(name string) map[string][]float64 {
	const want = "a map (M) of lists (L) of numbers (N)"
	var m item
	switch v := r.item[name].(type) {
	case nil:
		return nil
	case *types.AttributeValueMemberM:
		m = v.Value
	default:
		r.wrong(name, want)
		return nil
	}
	out := map[string][]float64{}
	for metric, v := range m {
		list, ok := v.(*types.AttributeValueMemberL)
		if !ok {
			r.wrong(name, want)
			return nil
		}
		values := make([]float64, len(list.Value))
		for i, v := range list.Value {
			n, ok := v.(*types.AttributeValueMemberN)
			if !ok {
				r.wrong(name, want)
				return nil
			}
			f, err := parseDecimal(n.Value)
			if err != nil {
				r.wrong(name, want)
				return nil
			}
			values[i], _ = f.Float64()
		}
		out[metric] = values
	}
	return out
}

// decodeWorker reads the metrics of a worker. Their types must be right. The leader decides whether
// their values make sense.
func decodeWorker(t *table, it item) (leases.WorkerMetrics, *leases.RowError) {
	r := &reader{item: it}
	m := leases.WorkerMetrics{
		Worker:         r.text(t.key),
		Updated:        r.seconds(attrMetricsLastUpdated).Truncate(time.Second),
		Stats:          r.numberLists(attrMetricsStats),
		Range:          r.numberLists(attrMetricsRange),
		Support:        int(r.integer(attrMetricsSupport, math.MaxInt32, false)),
		SupportUpdated: r.seconds(attrMetricsSupportAt).Truncate(time.Second),
		InSideTable:    t.side,
	}
	if v, ok := it[attrNativeWorker].(*types.AttributeValueMemberBOOL); ok {
		m.Native = v.Value
	}
	if it[attrMaxLeases] != nil {
		if m.MaxLeases = int(r.integer(attrMaxLeases, math.MaxInt32, false)); m.MaxLeases == 0 {
			m.MaxLeases = -1
		}
	}
	m.Handover = time.Duration(r.integer(attrHandover, math.MaxInt32, false)) * time.Second
	if m.Worker == "" {
		r.wrong(t.key, "a string (S)")
	}
	if err := errors.Join(r.problems...); err != nil {
		return m, &leases.RowError{Key: m.Worker, Err: fmt.Errorf("%w; the worker's metrics cannot be read: "+
			"it gets no leases until it has written them again; delete the item if that worker is gone", err)}
	}
	return m, nil
}

// workerReports keeps the metrics of the workers. They are in the lease table or in a side table.
type workerReports struct {
	routes     *routes
	consistent bool // Config.ConsistentList
}

// Workers implements [leases.FleetStore] with a scan of the lease table. While the side table may
// hold metrics, it scans that table too.
func (w workerReports) Workers(ctx context.Context) ([]leases.WorkerMetrics, []*leases.RowError, error) {
	r, err := w.routes.route(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	var workers []leases.WorkerMetrics
	var damaged []*leases.RowError
	add := func(t *table) func(item) {
		return func(it item) {
			if !t.side && !isWorker(it) {
				return
			}
			if m, bad := decodeWorker(t, it); bad != nil {
				damaged = append(damaged, bad)
			} else {
				workers = append(workers, m)
			}
		}
	}
	if r.metrics && !r.single() {
		if err := w.routes.metrics.scan(ctx, true, add(w.routes.metrics)); err != nil {
			return nil, nil, err
		}
	}
	if err := w.routes.leaseTable.scan(ctx, w.consistent, add(w.routes.leaseTable)); err != nil {
		return nil, nil, err
	}
	return workers, damaged, nil
}

// ReportWorker implements [leases.FleetStore] with one UpdateItem, so that the attributes of other
// libraries survive. It changes no lease whose key is the id of the worker.
func (w workerReports) ReportWorker(ctx context.Context, m leases.WorkerMetrics) error {
	r, err := w.routes.route(ctx, false)
	if err != nil {
		return err
	}
	t := w.routes.metrics
	if r.writesToLeaseTable(w.routes.migrate) {
		t = w.routes.leaseTable
	}
	it, absent, err := encodeWorker(t, m)
	if err != nil {
		return err
	}
	e := newExpression()
	condition := ""
	if !t.side {
		condition = e.absent(t.key) + " OR " + e.equals(it, attrEntityType)
	}
	return t.update(ctx, it, e, condition, absent...)
}

// ForgetWorker implements [leases.FleetStore] with one conditional DeleteItem for each table that
// may have the metrics.
func (w workerReports) ForgetWorker(ctx context.Context, read leases.WorkerMetrics) error {
	r, err := w.routes.route(ctx, false)
	if err != nil {
		return err
	}
	var tables []*table
	if r.metrics {
		tables = append(tables, w.routes.metrics)
	}
	if !read.InSideTable {
		tables = append(tables, w.routes.leaseTable)
	}
	err = &leases.ConflictError{Key: read.Worker}
	for _, t := range tables {
		e := newExpression()
		condition := e.exists(t.key)
		if read.Updated.IsZero() {
			condition += " AND " + e.absent(attrMetricsLastUpdated)
		} else {
			updated := item{attrMetricsLastUpdated: integer(read.Updated.Unix())}
			condition += " AND " + e.equals(updated, attrMetricsLastUpdated)
		}
		if !t.side {
			condition += " AND " + e.equals(item{attrEntityType: str(entityWorker)}, attrEntityType)
		}
		if err = t.remove(ctx, read.Worker, e, condition); err == nil {
			return nil
		}
		if _, conflict := errors.AsType[*leases.ConflictError](err); !conflict {
			return err
		}
	}
	return err
}
