package dynamotest

import (
	"bytes"
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

// Config says how the server behaves. The zero value is an instant, always consistent service.
type Config struct {
	// SettleTime is how long a table is CREATING or DELETING, and an index CREATING.
	SettleTime time.Duration
	// Lag is how far reads without ConsistentRead are behind.
	Lag time.Duration
	// IndexLag is how far indexes are behind.
	IndexLag time.Duration
	// Replicas are other regions. DescribeTable says that every table has a replica there, as of
	// global tables. Nothing is copied.
	Replicas []string
	// TableSize is the size of every table in DescribeTable, in bytes. 0 means the size of its rows.
	TableSize int64
	// PageRows is the most rows of one page of a Scan or Query; 0 means as many as fit in 1 MB.
	PageRows int
	// EmptyPages puts an empty page, with a key to go on from, between any two pages of a Scan.
	EmptyPages bool
	// OnChange, if set, is told each change of an item by a call, in the order of the changes. It must
	// not call the server, and other calls wait until it returns.
	OnChange func(Change)
	// Network is the network on which [Start] serves. Defaults to a new one.
	Network *memnet.Network
}

// Server is the fake. Its methods may be called from any goroutine. Make one with [Start], or with
// [New] to serve it as an [http.Handler].
type Server struct {
	*database
	faults faults

	network  *memnet.Network
	http     *http.Server
	serving  sync.WaitGroup
	listener net.Listener
	requests atomic.Int64
}

// database holds the tables and runs the operations on them.
type database struct {
	cfg Config

	mu     sync.Mutex // guards the fields below
	tables map[string]*table
	calls  map[string]int
	tokens map[string]spent // of transactions, by client request token
	client string           // the host whose call is being applied
}

// New returns a server without tables.
func New(cfg Config) *Server {
	db := &database{cfg: cfg, tables: make(map[string]*table), calls: make(map[string]int), tokens: make(map[string]spent)}
	return &Server{database: db, faults: faults{closed: make(chan struct{})}}
}

// Start returns a server that serves on an in-memory network until Close. Call it inside the
// bubble, if there is one.
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

// Close ends the service and all calls that wait in it.
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

// Link is the path between a started server and the host of that name, to slow, hold or cut it.
func (s *Server) Link(name string) *memnet.Link { return s.network.Link(host, name) }

// HTTPClientFrom returns a client on the host of that name, for a server of [Start].
func (s *Server) HTTPClientFrom(name string) *http.Client {
	return s.network.Host(name).HTTPClient(false)
}

// Calls returns how often an operation was called, by any client and with any outcome.
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

// Items returns the rows of a table as they are now, in the order of a scan. It returns nil if
// there is no such table.
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

// Put writes rows without a call. The table must exist.
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
	if err != nil { // the client went away in the middle of its request: that is no call
		s.answer(w, nil, &apiError{code: "SerializationException", message: "cannot read the request: " + err.Error()})
		return
	}
	service, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	s.count(operation)
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	var p plan
	if s.faults.any() {
		call := describeCall(operation, body)
		call.RemoteAddr = r.RemoteAddr
		call.Client = client
		p = s.faults.before(r.Context(), call)
	}
	failure, answer := p.fail, any(nil)
	switch {
	case p.status != 0:
	case failure != nil:
	case r.Method != http.MethodPost || service != "DynamoDB_20120810":
		failure = &apiError{code: "UnknownOperationException", message: "want POST with X-Amz-Target " +
			"DynamoDB_20120810.Operation"}
	default:
		answer, failure = s.apply(client, operation, body)
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

// answer sends the answer of a call, or its failure.
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

func (db *database) count(operation string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.calls[operation]++
}

// describeCall finds the table and the value of the hash key, for faults. It takes the first key
// attribute for the hash key, and leaseKey in a whole item.
func describeCall(operation string, body []byte) Call {
	var names struct {
		TableName string
		Key, Item map[string]struct{ S string }
	}
	_ = json.Unmarshal(body, &names) // apply reports a malformed body
	c := Call{Operation: operation, Table: names.TableName, Body: body, Key: names.Item["leaseKey"].S}
	for _, v := range names.Key {
		c.Key = v.S
	}
	return c
}

func (db *database) apply(client, operation string, body []byte) (any, *apiError) {
	switch operation {
	case "CreateTable":
		return apply(db, client, body, db.createTable)
	case "DescribeTable":
		return apply(db, client, body, db.describeTable)
	case "UpdateTable":
		return apply(db, client, body, db.updateTable)
	case "DeleteTable":
		return apply(db, client, body, db.deleteTable)
	case "UpdateContinuousBackups":
		return apply(db, client, body, db.updateContinuousBackups)
	case "DescribeContinuousBackups":
		return apply(db, client, body, db.describeContinuousBackups)
	case "ListTagsOfResource":
		return apply(db, client, body, db.listTagsOfResource)
	case "PutItem":
		return apply(db, client, body, db.putItem)
	case "GetItem":
		return apply(db, client, body, db.getItem)
	case "UpdateItem":
		return apply(db, client, body, db.updateItem)
	case "DeleteItem":
		return apply(db, client, body, db.deleteItem)
	case "Scan":
		return apply(db, client, body, db.scan)
	case "Query":
		return apply(db, client, body, db.query)
	case "TransactWriteItems":
		return apply(db, client, body, db.transactWriteItems)
	}
	return nil, &apiError{code: "UnknownOperationException", message: "dynamotest does not know " + operation}
}

// apply decodes a request strictly and runs fn under the lock. A parameter that this fake does not
// know is an error.
func apply[Request any](
	db *database, client string, body []byte, fn func(Request, time.Time) (any, *apiError),
) (any, *apiError) {
	var req Request
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil {
		if e, ok := errors.AsType[*apiError](err); ok {
			return nil, e
		}
		return nil, &apiError{code: "SerializationException", message: err.Error()}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.client = client
	return fn(req, time.Now())
}
