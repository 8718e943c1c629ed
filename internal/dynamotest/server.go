package dynamotest

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl/internal/memnet"
)

// host is the server's name on the in-memory network. It is reserved, so it never resolves.
const host = "dynamodb.test"

// Config says how the server behaves; the zero value is an instant, always
// consistent service.
type Config struct {
	// SettleTime is how long a table is CREATING or DELETING, and an index CREATING.
	SettleTime time.Duration
	// Lag is how far reads without ConsistentRead are behind.
	Lag time.Duration
	// IndexLag is how far indexes are behind.
	IndexLag time.Duration
	// Replicas are the other regions in which DescribeTable says that every table
	// has a replica, as of global tables. Nothing is copied anywhere.
	Replicas []string
	// TableSize is what DescribeTable says of the size of every table, in bytes; 0
	// means what its rows take.
	TableSize int64
	// PageRows is the most rows of one page of a Scan or Query; 0 means as many as fit in 1 MB.
	PageRows int
	// EmptyPages puts an empty page, with a key to go on from, between any two pages of a Scan.
	EmptyPages bool
	// Network, for [Start]: the network to serve on, shared with others. Default: one of its own.
	Network *memnet.Network
}

// Server is the fake. Its methods may be called from any goroutine. Make one
// with [Start], or with [New] to serve it elsewhere as an [http.Handler].
type Server struct {
	cfg    Config
	faults faults

	network  *memnet.Network
	http     *http.Server
	serving  sync.WaitGroup
	listener net.Listener
	requests atomic.Int64

	mu     sync.Mutex // guards the fields below
	tables map[string]*table
	calls  map[string]int
	tokens map[string]spent // of transactions, by client request token
}

// New returns a server without tables.
func New(cfg Config) *Server {
	return &Server{cfg: cfg, faults: faults{closed: make(chan struct{})}, tables: make(map[string]*table), calls: make(map[string]int), tokens: make(map[string]spent)}
}

// Start returns a server that serves on an in-memory network, until Close.
// Inside a bubble, call it inside the bubble.
func Start(cfg Config) *Server {
	s := New(cfg)
	if s.network = cfg.Network; s.network == nil {
		s.network = memnet.New()
	}
	var err error
	if s.listener, err = s.network.Listen(net.JoinHostPort(host, "80")); err != nil {
		panic(fmt.Sprintf("dynamotest: %v (one server a network)", err))
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	s.serving.Go(func() { _ = s.http.Serve(s.listener) }) // ends in Close
	return s
}

// Close ends the service and everything that waits in it.
func (s *Server) Close() {
	s.faults.close()
	if s.http != nil {
		_ = s.http.Close()
		s.serving.Wait()
		if s.cfg.Network == nil {
			_ = s.network.Close()
		}
	}
}

// URL is the endpoint for clients of a started server.
func (s *Server) URL() string { return "http://" + host }

// Network is the network that a started server serves on.
func (s *Server) Network() *memnet.Network { return s.network }

// HTTPClientFrom returns a client on the host of that name, for a started server.
func (s *Server) HTTPClientFrom(name string) *http.Client {
	return s.network.Host(name).HTTPClient(false)
}

// Calls returns how often an operation was called, by any client and with any
// outcome.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// AllCalls returns the counts of all operations.
func (s *Server) AllCalls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Items returns the rows of a table as they are now, in the order of a scan;
// nil when there is no such table.
func (s *Server) Items(table string) []Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[table]
	if t == nil {
		return nil
	}
	var items []Item
	for _, r := range t.rows {
		if item := r.at(time.Time{}); item != nil {
			items = append(items, maps.Clone(item))
		}
	}
	return items
}

// Put writes rows behind everyone's back. The table must exist.
func (s *Server) Put(table string, items ...Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[table]
	for _, item := range items {
		key, err := t.key(item)
		if err != nil {
			panic(err)
		}
		t.put(placeOf(key), maps.Clone(item), time.Now())
	}
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
	if err != nil { // the client went away in the middle of its request: no call was made
		s.answer(w, nil, &apiError{code: "SerializationException", message: "cannot read the request: " + err.Error()})
		return
	}
	service, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	call := describeCall(operation, body)
	call.RemoteAddr = r.RemoteAddr
	call.Client, _, _ = net.SplitHostPort(r.RemoteAddr)
	s.count(operation)
	p := s.faults.before(r.Context(), call)
	failure, answer := p.fail, any(nil)
	switch {
	case p.status != 0:
	case failure != nil:
	case r.Method != http.MethodPost || service != "DynamoDB_20120810":
		failure = &apiError{code: "UnknownOperationException", message: "want POST with X-Amz-Target DynamoDB_20120810.Operation"}
	default:
		answer, failure = s.apply(operation, body)
	}
	s.faults.after(r.Context(), p)
	if p.status != 0 {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(p.status)
		_, _ = w.Write(p.body)
		return
	}
	s.answer(w, answer, failure)
}

// answer sends the answer to a call, or its failure.
func (s *Server) answer(w http.ResponseWriter, answer any, failure *apiError) {
	status := http.StatusOK
	if failure != nil {
		status = failure.status()
		m := map[string]any{"__type": failure.qualified(), "message": failure.message}
		if failure.item != nil {
			m["Item"] = failure.item
		}
		if failure.reasons != nil {
			m["CancellationReasons"] = failure.reasons
		}
		answer = m
	}
	out, err := json.Marshal(answer)
	if err != nil {
		panic(fmt.Sprintf("dynamotest: answer %T: %v", answer, err))
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amzn-Requestid", fmt.Sprintf("DYNAMOTEST%016d", s.requests.Add(1)))
	w.Header().Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(out)), 10))
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	w.WriteHeader(status)
	_, _ = w.Write(out)
}

func (s *Server) count(operation string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[operation]++
}

// describeCall finds the table and the hash key's value, for faults. The hash
// key is taken to be the first key attribute, or leaseKey in a whole item.
func describeCall(operation string, body []byte) Call {
	var names struct {
		TableName string
		Key, Item map[string]struct{ S string }
	}
	_ = json.Unmarshal(body, &names) // whatever it is, apply says so
	c := Call{Operation: operation, Table: names.TableName, Body: body, Key: names.Item["leaseKey"].S}
	for _, v := range names.Key {
		c.Key = v.S
	}
	return c
}

func (s *Server) apply(operation string, body []byte) (any, *apiError) {
	switch operation {
	case "CreateTable":
		return apply(s, body, s.createTable)
	case "DescribeTable":
		return apply(s, body, s.describeTable)
	case "UpdateTable":
		return apply(s, body, s.updateTable)
	case "DeleteTable":
		return apply(s, body, s.deleteTable)
	case "UpdateContinuousBackups":
		return apply(s, body, s.updateContinuousBackups)
	case "DescribeContinuousBackups":
		return apply(s, body, s.describeContinuousBackups)
	case "ListTagsOfResource":
		return apply(s, body, s.listTagsOfResource)
	case "PutItem":
		return apply(s, body, s.putItem)
	case "GetItem":
		return apply(s, body, s.getItem)
	case "UpdateItem":
		return apply(s, body, s.updateItem)
	case "DeleteItem":
		return apply(s, body, s.deleteItem)
	case "Scan":
		return apply(s, body, s.scan)
	case "Query":
		return apply(s, body, s.query)
	case "TransactWriteItems":
		return apply(s, body, s.transactWriteItems)
	}
	return nil, &apiError{code: "UnknownOperationException", message: "dynamotest does not know " + operation}
}

// apply decodes a request strictly, so that a parameter that this fake does not
// know is an error and not silently ignored, and runs fn under the lock.
func apply[Request any](s *Server, body []byte, fn func(Request, time.Time) (any, *apiError)) (any, *apiError) {
	var req Request
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil {
		if e, ok := errors.AsType[*apiError](err); ok {
			return nil, e
		}
		return nil, &apiError{code: "SerializationException", message: err.Error()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fn(req, time.Now())
}
