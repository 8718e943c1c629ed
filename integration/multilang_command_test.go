package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMultiLangCommandOfKclpy starts our daemon with the command that amazon_kclpy prints for the
// Java daemon. Only the path of java in it is another.
func TestMultiLangCommandOfKclpy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	properties := filepath.Join(dir, "app.properties")
	require.NoError(t, os.WriteFile(properties, nil, 0o600))
	logback := filepath.Join(dir, "logback.xml")
	daemon := filepath.Join(dir, "daemon")
	writeScript(t, daemon)
	wrapper, err := filepath.Abs("../cmd/multilangd/multilangd-java")
	require.NoError(t, err)

	for name, tc := range map[string]struct{ options, want []string }{
		"plain": {nil, []string{"--properties-file", properties}},
		"log": {
			[]string{"-l", logback},
			[]string{"--properties-file", properties, "--log-configuration", logback},
		},
		"classpath": {[]string{"-c", dir}, []string{"--properties-file", properties}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			helper := []string{
				filepath.Join(endpoint(t, "KCL_KCLPY"), "samples", "amazon_kclpy_helper.py"),
				"--print_command", "--java", wrapper, "--properties", properties,
			}
			printed := exec.Command(python(t), append(helper, tc.options...)...)
			printed.Env = append(os.Environ(), "PYTHONPATH="+endpoint(t, "KCL_KCLPY"))
			command, err := printed.Output()
			require.NoError(t, err)
			shell := exec.Command("sh", "-c", string(command))
			shell.Env = append(os.Environ(), "MULTILANGD="+daemon)
			shell.Stderr = t.Output()
			got, err := shell.Output()
			require.NoError(t, err, "%s", command)
			require.Equal(t, tc.want, strings.Fields(string(got)))
		})
	}
}

// TestMultiLangCommandWithOptions leaves options of the virtual machine out, and finds multilangd
// beside itself.
func TestMultiLangCommandWithOptions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	wrapper := filepath.Join(dir, "multilangd-java")
	text, err := os.ReadFile("../cmd/multilangd/multilangd-java")
	require.NoError(t, err)
	writeProgram(t, wrapper, string(text))
	writeScript(t, filepath.Join(dir, "multilangd"))
	java := []string{"-Xmx512m", "-Dname=value", "-cp", "/jars/*", "com.example.MultiLangDaemon", "app.properties"}
	out, err := exec.Command(wrapper, java...).Output()
	require.NoError(t, err)
	require.Equal(t, "app.properties\n", string(out))

	err = exec.Command(wrapper, "-version").Run()
	exit := &exec.ExitError{}
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 2, exit.ExitCode())
}

// writeScript writes a program that prints its arguments.
func writeScript(t *testing.T, path string) {
	t.Helper()
	writeProgram(t, path, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
}

func writeProgram(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o700))
}
