package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mavenStub takes the place of mvn. It notes the artifacts that the project lists, and copies their
// jars from the folder JARS. Its first run cuts what it copies.
const mavenStub = `#!/usr/bin/env bash
set -eu
while [ "$1" != -f ]; do shift; done
echo run >>"$NOTES"
artifact='<artifactId>([^<]*)</artifactId><version>([^<]*)</version></artifactItem>'
sed -nE "s#.*$artifact#\\1-\\2.jar#p" "$2" | tee -a "$NOTES" |
while read -r jar; do
  cp "$JARS/$jar" "$(dirname "$2")/lib/$jar"
  [ "$(grep -c '^run$' "$NOTES")" -gt 1 ] || truncate -s 100 "$(dirname "$2")/lib/$jar"
done
`

// TestX08CutJarIsDownloadedAgain cuts one jar of the Java daemon and removes another. The next run
// finds both, downloads these two alone, sees that they were cut, and tries again.
func TestX08CutJarIsDownloadedAgain(t *testing.T) {
	t.Parallel()
	jars := filepath.Join(filepath.Dir(endpoint(t, "KCL_JAVA_MULTILANG3")), "lib")
	cache, tools := t.TempDir(), t.TempDir()
	lib := filepath.Join(cache, "java-multilang-3.1.3", "lib")
	require.NoError(t, os.CopyFS(lib, os.DirFS(jars)))
	cut, removed := "guava-32.1.1-jre.jar", "kinesis-2.33.0.jar"
	require.NoError(t, os.Truncate(filepath.Join(lib, cut), 1000))
	require.NoError(t, os.Remove(filepath.Join(lib, removed)))
	writeProgram(t, filepath.Join(tools, "mvn"), mavenStub)

	notes := filepath.Join(tools, "notes")
	install := exec.Command("./servers.sh", "install", "multilang3")
	install.Env = append(os.Environ(), "KCL_INTEGRATION_CACHE="+cache, "JARS="+jars, "NOTES="+notes,
		"PATH="+tools+":"+os.Getenv("PATH"))
	out, err := install.CombinedOutput()
	require.NoError(t, err, "%s", out)

	text, err := os.ReadFile(notes)
	require.NoError(t, err)
	require.Equal(t, []string{"run", cut, removed, "run", cut, removed}, strings.Fields(string(text)))
	for _, name := range []string{cut, removed} {
		want, err := os.ReadFile(filepath.Join(jars, name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(lib, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "%s is not whole", name)
	}
}
