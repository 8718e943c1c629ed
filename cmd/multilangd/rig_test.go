package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/kinesistest"
)

// The first arguments with which a test runs this binary as the daemon, or the daemon as a child.
const (
	asDaemon = "as-daemon"
	asChild  = "as-child"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case asDaemon:
			os.Args = append(os.Args[:1], os.Args[2:]...)
			main()
			return
		case asChild:
			child(os.Args[2])
			return
		}
	}
	os.Exit(m.Run())
}

// What the test tells a child to do.
const (
	live  = "live"  // answer everything, and checkpoint each batch
	count = "count" // the same, and tell the size of each batch
	die   = "die"   // end at the first batch
	hang  = "hang"  // do not answer the first batch
	leave = "leave" // end after the first batch, which is answered
)

// child is a record processor. It tells the test what happens, over the connection to address, and
// gets its instruction there.
func child(address string) {
	test, err := net.Dial("tcp", address)
	if err != nil {
		panic(err)
	}
	tell := func(format string, args ...any) { _, _ = fmt.Fprintf(test, format+"\n", args...) }
	tell("start %s", os.Getenv("KCL_STREAM_NAME"))
	instruction, _ := bufio.NewReader(test).ReadString('\n')
	instruction = strings.TrimSpace(instruction)
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var m struct {
			Action         string
			ShardID        string
			SequenceNumber *string
			Records        []struct{ Data string }
		}
		if err := json.Unmarshal(line, &m); err != nil {
			panic(err)
		}
		switch m.Action {
		case "initialize":
			tell("initialize %s %s", m.ShardID, *m.SequenceNumber)
		case "processRecords":
			for _, r := range m.Records {
				data, _ := base64.StdEncoding.DecodeString(r.Data)
				tell("record %s", data)
			}
			if instruction == count {
				tell("batch of %d", len(m.Records))
			}
			switch instruction {
			case die:
				os.Exit(3)
			case hang:
				<-time.After(time.Hour) // the runtime ends a program that waits for nothing
			}
			checkpoint(in)
		default:
			if m.Action != "leaseLost" {
				checkpoint(in)
			}
			tell("%s", m.Action)
		}
		fmt.Printf("\n{\"action\": \"status\", \"responseFor\": %q}\n", m.Action)
		if instruction == leave && m.Action == "processRecords" {
			os.Exit(4)
		}
	}
}

// checkpoint asks for a checkpoint of all records, and reads the answer.
func checkpoint(in *bufio.Reader) {
	fmt.Print("\n{\"action\": \"checkpoint\", \"sequenceNumber\": null, \"subSequenceNumber\": null}\n")
	_, _ = in.ReadBytes('\n')
}

// rig is the two services on one port, and the ear of the children.
type rig struct {
	url      string
	tables   *dynamotest.Server
	kinesis  *kinesis.Client
	dynamoDB *dynamodb.Client
	children net.Listener
	lines    chan string // what children tell

	mu     sync.Mutex // guards the fields below
	modes  []string   // instructions of the next children; the last one stays
	agents map[string]bool
}

func newRig(t *testing.T, cfg kinesistest.Config, modes ...string) *rig {
	t.Helper()
	r := &rig{
		tables: dynamotest.New(dynamotest.Config{}), lines: make(chan string, 1000),
		modes: append(modes, live)[:max(1, len(modes))], agents: map[string]bool{},
	}
	t.Cleanup(r.tables.Close)
	if cfg.Streams == nil {
		cfg.Streams = []kinesistest.StreamConfig{{Name: "orders", Shards: 1}}
	}
	cfg.Listen, cfg.DisableLimits = "127.0.0.1:0", true
	cfg.Others = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.agents[q.UserAgent()] = true
		r.mu.Unlock()
		r.tables.ServeHTTP(w, q)
	})
	srv, err := kinesistest.Start(cfg)
	require.NoError(t, err)
	t.Cleanup(srv.Close)
	r.url = srv.URL()
	who := credentials.NewStaticCredentialsProvider("id", "secret", "")
	r.kinesis = kinesis.New(kinesis.Options{BaseEndpoint: &r.url, Region: "us-east-1", Credentials: who})
	r.dynamoDB = dynamodb.New(dynamodb.Options{BaseEndpoint: &r.url, Region: "us-east-1", Credentials: who})

	r.children, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() { r.hear(&wg) }) // ends with the listener
	t.Cleanup(func() {
		require.NoError(t, r.children.Close())
		wg.Wait() // no child is left
	})
	return r
}

// hear passes on what children tell, until the listener is closed and all children have ended.
func (r *rig) hear(wg *sync.WaitGroup) {
	for {
		conn, err := r.children.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		mode := r.modes[0]
		r.modes = r.modes[min(1, len(r.modes)-1):]
		r.mu.Unlock()
		wg.Go(func() { // ends with the child
			defer conn.Close()
			_, _ = fmt.Fprintln(conn, mode)
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				r.lines <- lines.Text()
			}
			r.lines <- "end"
		})
	}
}

// expect waits until children have told the lines, in any order, and nothing else.
func (r *rig) expect(t *testing.T, lines ...string) {
	t.Helper()
	left := map[string]int{}
	for _, l := range lines {
		left[l]++
	}
	deadline := time.After(60 * time.Second)
	for range lines {
		select {
		case got := <-r.lines:
			require.Positive(t, left[got], "%q is not among the lines that are left: %v", got, left)
			left[got]--
			if left[got] == 0 {
				delete(left, got)
			}
		case <-deadline:
			require.Failf(t, "children are silent", "these lines are left: %v", left)
		}
	}
}

// await waits until a child has told the line, whatever the children tell before.
func (r *rig) await(t *testing.T, line string) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case got := <-r.lines:
			if got == line {
				return
			}
		case <-deadline:
			require.Failf(t, "children are silent", "%q has not come", line)
		}
	}
}

// instruct gives the next children another mode.
func (r *rig) instruct(mode string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.modes = []string{mode}
}

func (r *rig) put(t *testing.T, data string) {
	t.Helper()
	_, err := r.kinesis.PutRecord(t.Context(), &kinesis.PutRecordInput{
		StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: []byte(data),
	})
	require.NoError(t, err)
}

// file writes a properties file. Later lines replace earlier ones.
func (r *rig) file(t *testing.T, lines ...string) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	all := append([]string{
		fmt.Sprintf("executableName = %s %s %s", self, asChild, r.children.Addr()),
		"processingLanguage = go", "applicationName = app", "streamName = orders", "regionName = us-east-1",
		"kinesisEndpoint = " + r.url, "dynamoDBEndpoint = " + r.url, "initialPositionInStream = TRIM_HORIZON",
		"AWSCredentialsProvider = StaticCredentialsProvider|id|secret", "retrievalMode = POLLING",
	}, lines...)
	name := filepath.Join(t.TempDir(), "app.properties")
	require.NoError(t, os.WriteFile(name, []byte(strings.Join(all, "\n")), 0o600))
	return name
}

// buffer takes the log of a daemon.
type buffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// running is a daemon in this process.
type running struct {
	stop   context.CancelFunc
	status chan int
	log    *buffer
}

// start runs the daemon with a file of lines.
func (r *rig) start(t *testing.T, args []string, lines ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	d := &running{stop: stop, status: make(chan int, 1), log: &buffer{}}
	args = append(args, "-p", r.file(t, lines...))
	var wg sync.WaitGroup
	wg.Go(func() { d.status <- run(ctx, args, t.Output(), d.log) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
		if t.Failed() {
			t.Log(d.log.String())
		}
	})
	return d
}

// ended waits for the exit status.
func (d *running) ended(t *testing.T) int {
	t.Helper()
	select {
	case status := <-d.status:
		return status
	case <-time.After(60 * time.Second):
		require.Fail(t, "the daemon does not end")
		return -1
	}
}
