package integration

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReadmeFleet types the commands of README.md into a shell, as a reader does: a fleet of
// processes shares a stream of the fake, with its leases in the fake's tables.
func TestReadmeFleet(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			cannotRun(t, tool+" is not installed")
		}
	}
	text, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, block, ok := strings.Cut(string(text), "```sh\n")
	require.True(t, ok)
	block, _, ok = strings.Cut(block, "```")
	require.True(t, ok)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	block = strings.NewReplacer("127.0.0.1:4567", address, "bin/", t.TempDir()+"/").Replace(block)
	block = strings.Replace(block, "kinesisfake -dynamodb", "kinesisfake -listen "+address+" -dynamodb", 1)
	commands := strings.Split(strings.ReplaceAll(strings.TrimSpace(block), "\\\n", " "), "\n")
	require.Len(t, commands, 9, "README.md has other commands: adapt this test to them")

	shell := exec.CommandContext(t.Context(), "bash")
	shell.Dir, shell.Stderr, shell.WaitDelay = "..", t.Output(), 10*time.Second
	shell.Env = slices.DeleteFunc(os.Environ(),
		func(v string) bool { return strings.HasPrefix(v, "AWS_") }) // of other servers
	in, err := shell.StdinPipe()
	require.NoError(t, err)
	out, err := shell.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, shell.Start())
	lines := bufio.NewScanner(out)
	run := func(command string) {
		t.Log(command)
		_, err := fmt.Fprintln(in, command)
		require.NoError(t, err)
	}
	until := func(part string) string {
		for lines.Scan() {
			if t.Log(lines.Text()); strings.Contains(lines.Text(), part) {
				return lines.Text()
			}
		}
		require.FailNow(t, "the shell ended", "before it printed %q: %v", part, lines.Err())
		return ""
	}
	defer func() { // whatever fails, no process stays behind
		_, _ = fmt.Fprintln(in, "kill -9 $(jobs -p) 2>/dev/null; exit")
		_ = shell.Wait()
	}()

	build, export, fake, one, two, put, list, killed, stopped := commands[0], commands[1], commands[2], commands[3],
		commands[4], commands[5], commands[6], commands[7], commands[8]
	run(build)
	run(export)
	run(fake)
	until("listening on http://" + address)
	run(one)
	run(two)
	run(put)
	until(`"data":"aGVsbG8="`)
	run(list)
	until("4 leases")
	run(killed)
	run(list)
	until("4 leases")
	run(stopped)
	run("wait %1 && echo all ended well")
	until("all ended well")
}
