package integration

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// client is a program that daemons start for each shard.
type client struct {
	name      string
	retrieval string
	unlost    bool // it is not told of the lost lease after it was asked to stop
	arguments func(t *testing.T) []string
}

// clients are the ones that people have. Those of other languages are the released packages, with
// processors of ours or, where the package has one, its own sample.
var clients = []client{
	{name: "kclpyV2", retrieval: "POLLING", arguments: func(t *testing.T) []string {
		return []string{python(t), source(t, "kclpy_child.py"), "v2"}
	}},
	{name: "kclpyV3", retrieval: "FANOUT", arguments: func(t *testing.T) []string {
		return []string{python(t), source(t, "kclpy_child.py"), "v3"}
	}},
	{name: "kclpySample", retrieval: "POLLING", arguments: func(t *testing.T) []string {
		sample := filepath.Join(endpoint(t, "KCL_KCLPY"), "samples", "sample_kclpy_app.py")
		return []string{python(t), source(t, "kclpy_sample.py"), sample}
	}},
	{name: "awsKCL", retrieval: "FANOUT", arguments: func(t *testing.T) []string {
		return []string{tool(t, "node"), source(t, "node_child.js")}
	}},
	{name: "serve", retrieval: "FANOUT", unlost: true, arguments: func(t *testing.T) []string {
		return []string{built(t, "servechild")}
	}},
	{name: "goguardian", retrieval: "POLLING", arguments: func(t *testing.T) []string {
		return []string{built(t, "goguardianchild")}
	}},
}

// command is the value of executableName. A daemon splits it at blanks.
func (c client) command(t *testing.T) string {
	t.Helper()
	command := ""
	for _, argument := range c.arguments(t) {
		require.NotContains(t, argument, " ")
		command += argument + " "
	}
	return command[:len(command)-1]
}

// environment lets Python and Node find the packages.
func (c client) environment(t *testing.T) []string {
	t.Helper()
	return []string{
		"PYTHONPATH=" + endpoint(t, "KCL_KCLPY"), "NODE_PATH=" + endpoint(t, "KCL_AWS_KCL"),
		"PYTHONDONTWRITEBYTECODE=1",
	}
}

// python is the interpreter that servers.sh made for amazon_kclpy.
func python(t *testing.T) string {
	t.Helper()
	return filepath.Join(endpoint(t, "KCL_KCLPY"), "venv", "bin", "python3")
}

// tool is the path of a program. A machine without it fails the test: servers.sh installs it.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err)
	return path
}

// source is the path of a client's program.
func source(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("multilang", name))
	require.NoError(t, err)
	return path
}

func built(t *testing.T, name string) string {
	t.Helper()
	require.NoError(t, build())
	return filepath.Join(bin, name)
}
