package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var bin string // where build puts the mains; removed by TestMain

// build makes the mains once for all tests.
var build = sync.OnceValue(func() (err error) {
	if bin, err = os.MkdirTemp("", "kcl-integration-"); err != nil {
		return err
	}
	out, err := exec.Command("go", "build", "-o", bin, "../examples/efo", "../examples/polling", "../examples/multistream",
		"../cmd/kinesisfake", "../cmd/multilangd", "../examples/multilang/runsample", "./multilang/servechild",
		"./multilang/goguardianchild").CombinedOutput()
	if err != nil {
		return errors.New(string(out))
	}
	return nil
})

func TestMain(m *testing.M) {
	if os.Getenv("WORKER") != "" {
		os.Exit(goWorker())
	}
	code := m.Run()
	if bin != "" {
		_ = os.RemoveAll(bin)
	}
	os.Exit(code)
}

// process is a program that runs for a test. Its standard error goes to the test's log.
type process struct {
	cmd    *exec.Cmd
	lines  chan string   // its standard output, closed at its end
	exited chan struct{} // closed when it has been waited for
}

// launch runs a main of ours.
func launch(t *testing.T, environment []string, name string, arguments ...string) *process {
	t.Helper()
	require.NoError(t, build())
	return spawn(t, environment, filepath.Join(bin, name), arguments...)
}

func spawn(t *testing.T, environment []string, path string, arguments ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(path, arguments...), lines: make(chan string, 100000), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stderr = t.Output()
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() { // ends with the process
		defer close(p.exited)
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, 4<<20)
		for scanner.Scan() {
			p.lines <- scanner.Text()
		}
		_, _ = io.Copy(io.Discard, stdout)
		close(p.lines)
		_ = p.cmd.Wait() // the state is read from cmd
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // an error says that it has ended
		<-p.exited
	})
	return p
}

// stop sends the signal and returns the exit status, -1 when the signal ended it.
func (p *process) stop(ctx context.Context, t *testing.T, signal syscall.Signal) int {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(signal))
	select {
	case <-p.exited:
	case <-ctx.Done():
		require.FailNow(t, "still running after "+signal.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// line is what the examples print for a record.
type line struct {
	Stream            string    `json:"stream"`
	Shard             string    `json:"shard"`
	SequenceNumber    string    `json:"sequenceNumber"`
	SubSequenceNumber int64     `json:"subSequenceNumber"`
	PartitionKey      *string   `json:"partitionKey"`
	Arrival           time.Time `json:"approximateArrival"`
	Data              []byte    `json:"data"`
}

// read notes everything that the process has printed so far in the ledger, under its name.
func (p *process) read(t *testing.T, l *ledger, worker, stream string) {
	t.Helper()
	for {
		select {
		case text, ok := <-p.lines:
			if !ok {
				return
			}
			var record line
			require.NoError(t, json.Unmarshal([]byte(text), &record), "standard output holds JSON only: %q", text)
			require.Equal(t, stream, record.Stream)
			require.NotEmpty(t, record.SequenceNumber)
			require.NotNil(t, record.PartitionKey)
			require.True(t, strings.HasPrefix(string(record.Data), *record.PartitionKey+" "), text)
			require.WithinDuration(t, time.Now(), record.Arrival, time.Hour)
			require.NoError(t, l.process(worker, record.Shard, fmt.Sprint(record.SequenceNumber, record.SubSequenceNumber),
				string(record.Data)))
		default:
			return
		}
	}
}

// startFake runs cmd/kinesisfake on a free port.
func startFake(ctx context.Context, t *testing.T) (url string) {
	t.Helper()
	fake := launch(t, nil, "kinesisfake", "-listen", "127.0.0.1:0")
	select {
	case text := <-fake.lines:
		url, ok := strings.CutPrefix(text, "listening on ")
		require.True(t, ok, "first line of kinesisfake: %q", text)
		return url
	case <-ctx.Done():
		require.FailNow(t, "kinesisfake did not say where it listens")
		return ""
	}
}
