// Package fence holds tests of the house rules: first the import rules of ARCHITECTURE.md. Imports
// point downwards, peers never import peers, and each third-party module stays where it is needed.
// Test files are free; a package of the library is not. A second rule keeps real sleeps out of
// tests. Only a package whose tests use testing/synctest may call time.Sleep: in such a test it
// takes no time.
package fence

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/kinesis-go/kcl"

// rigs are the mains and the test beds at the top; they may use any package below.
var rigs = []string{"cmd/...", "examples/...", "integration/...", "internal/sim/..."}

// everyone is the allow-list of packages that all may import.
var everyone = []string{"internal/memnet"}

// layers says which packages of this module a package may import, besides [everyone].
// A package that is missing here fails the test: give it its place first. "." is the root.
var layers = map[string][]string{
	// 1: words
	".":                  {},
	"metrics":            {"internal/usercode"},
	"metrics/prometheus": {"metrics"},
	"metrics/cloudwatch": {"metrics"},
	// helpers
	"internal/memnet":     {},
	"internal/fence":      {},
	"internal/chance":     {},
	"internal/retry":      {"internal/chance"},
	"internal/line":       {"internal/chance"},
	"internal/parallel":   {},
	"internal/pageguard":  {},
	"internal/trust":      {},
	"internal/usercode":   {},
	"internal/cpu":        {},
	"internal/stopsignal": {},
	"internal/awserr":     {"."},
	"internal/fromsdk":    {"."},
	"internal/shardend":   {".", "internal/fromsdk"},
	"internal/shardread":  {".", "internal/awserr", "internal/line", "internal/chance"},
	"internal/awstest":    {".", "metrics", "kinesistest", "internal/dynamotest"},
	"internal/dynamotest": {},
	"internal/testsize":   {},
	"internal/fleettest": {
		".", "leases", "leases/dynamodb", "leases/leasefault", "leases/memory", "internal/awstest",
		"internal/testsize",
		"internal/coordinator", "internal/dynamotest", "internal/holder",
	},
	"internal/transcript": {},
	"internal/smallworld": {
		".", "leases", "internal/coordinator", "internal/holder", "internal/plan", "internal/shardsync", "internal/trust",
	},
	// 2: parts
	"efo": {
		".", "metrics", "internal/retry", "internal/awserr", "internal/fromsdk", "internal/line",
		"internal/shardend", "internal/shardread", "internal/chance",
	},
	"polling": {
		".", "metrics", "internal/retry", "internal/awserr", "internal/fromsdk", "internal/line",
		"internal/shardend", "internal/shardread", "internal/chance",
	},
	"checkpoint":            {".", "metrics"},
	"kpl":                   {"."},
	"multilang":             {".", "multilang/internal/protocol", "internal/usercode", "internal/chance"},
	"processors":            {".", "internal/retry", "internal/usercode"},
	"leases":                {"."},
	"leases/memory":         {"leases"},
	"leases/leasefault":     {"leases"},
	"leases/dynamodb":       {".", "leases", "internal/retry", "internal/awserr", "internal/line", "internal/pageguard"},
	"leases/redis":          {".", "leases", "internal/retry", "internal/chance"},
	"leases/leasetest":      {".", "leases"},
	"internal/caughtup":     {".", "metrics"},
	"internal/fleetstart":   {"leases", "internal/retry", "internal/chance"},
	"internal/gokcl":        {".", "leases", "internal/awserr", "internal/line", "internal/pageguard"},
	"internal/guardedstore": {"leases", "internal/usercode"},
	"internal/shardsync":    {".", "leases"},
	"internal/kcl3":         {"leases"},
	"internal/election":     {"metrics", "leases", "internal/kcl3", "internal/retry", "internal/trust", "internal/chance"},
	"internal/holder": {
		".", "metrics", "leases", "internal/kcl3", "internal/retry", "internal/trust", "internal/chance",
	},
	"internal/plan": {"leases"},
	"internal/coordinator": {
		".", "metrics", "leases", "internal/election", "internal/holder", "internal/kcl3",
		"internal/parallel", "internal/plan", "internal/retry", "internal/trust", "internal/usercode", "internal/chance",
	},
	// multilang, and what has the API of another library over it
	"multilang/internal/protocol": {"."},
	"compat/goguardian/kcl":       {".", "multilang"},
	// 3: assembly
	"scheduler": {
		".", "metrics", "efo", "polling", "leases", "internal/coordinator", "internal/holder",
		"internal/shardsync", "internal/caughtup", "internal/fleetstart", "internal/guardedstore", "checkpoint", "kpl",
		"internal/cpu", "internal/retry", "internal/awserr", "internal/fromsdk", "internal/shardend", "internal/line",
		"internal/parallel", "internal/usercode", "internal/chance",
	},
	"kinesistest": {},
	// parts of kclctl
	"cmd/kclctl/internal/terminal":   {},
	"cmd/kclctl/internal/view":       {".", "leases"},
	"cmd/kclctl/internal/families":   {"leases"},
	"cmd/kclctl/internal/streaminfo": {".", "internal/fromsdk", "cmd/kclctl/internal/view"},
	"cmd/kclctl/internal/audit": {
		".", "leases", "internal/shardsync", "cmd/kclctl/internal/streaminfo", "cmd/kclctl/internal/view",
	},
	"cmd/kclctl/internal/transfer": {
		".", "leases", "internal/gokcl", "internal/shardsync", "cmd/kclctl/internal/families",
		"cmd/kclctl/internal/streaminfo", "cmd/kclctl/internal/terminal", "cmd/kclctl/internal/view",
	},
	// parts of multilangd
	"cmd/multilangd/internal/properties":  {},
	"cmd/multilangd/internal/credentials": {},
	"cmd/multilangd/internal/settings": {
		".", "leases/dynamodb", "scheduler", "cmd/multilangd/internal/credentials", "cmd/multilangd/internal/properties",
	},
	// 4: mains and rigs
	"cmd/...":          {"..."},
	"examples/...":     {"..."},
	"integration/...":  {"..."},
	"internal/sim/...": {"..."},
}

// onlyTests names packages that are for test files alone, in mains and rigs too.
var onlyTests = []string{
	"internal/awstest", "internal/fleettest", "internal/sim", "internal/sim/check", "internal/smallworld",
	"internal/testsize", "internal/transcript", "leases/leasetest",
}

// fences says who may import a third-party module; the longest matching prefix decides, and one
// without an entry may be imported by nobody.
var fences = map[string][]string{
	"github.com/aws/aws-sdk-go-v2/aws": {
		"efo", "polling", "scheduler", "leases/dynamodb",
		"metrics/cloudwatch", "internal/awserr", "internal/fromsdk", "internal/gokcl", "internal/shardend",
		"internal/shardread", "internal/awstest",
	},
	"github.com/aws/smithy-go": {
		"efo", "polling", "scheduler", "leases/dynamodb",
		"metrics/cloudwatch", "internal/awserr", "internal/shardread", "internal/awstest",
	},
	"github.com/aws/aws-sdk-go-v2/config":      {}, // rigs only
	"github.com/aws/aws-sdk-go-v2/credentials": {"internal/awstest"},
	"github.com/aws/aws-sdk-go-v2/service/kinesis": {
		"efo", "polling", "scheduler", "internal/fromsdk",
		"internal/shardend", "internal/shardread", "internal/awstest",
	},
	"github.com/aws/aws-sdk-go-v2/service/dynamodb": {
		"internal/fleettest", "leases/dynamodb", "internal/gokcl",
		"internal/awstest", "internal/pageguard",
	},
	"github.com/aws/aws-sdk-go-v2/service/sts":        {}, // rigs only
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch": {"metrics/cloudwatch"},
	"github.com/cenkalti/backoff/v4":                  {"internal/retry"},
	"github.com/prometheus":                           {"metrics/prometheus"},
	"github.com/redis/go-redis/v9":                    {"leases/redis", "internal/gokcl"},
	"github.com/alicebob/miniredis/v2":                {}, // rigs only
	"github.com/fxamacker/cbor/v2":                    {"kinesistest"},
	"google.golang.org/protobuf":                      {"kpl"},
	"github.com/lmittmann/tint":                       {}, // rigs only
	"github.com/stretchr/testify": {
		"leases/leasetest", "internal/awstest", "internal/fleettest",
		"internal/transcript",
	},
}

// source is one package: its folder, and the imports of its files other than tests.
type source struct {
	dir     string
	imports []string
}

// violations compares packages with the rules. Pure, so that a test can show that it bites.
func violations(sources []source) []string {
	var bad []string
	for _, s := range sources {
		allowed, known := lookup(s.dir)
		if !known {
			bad = append(bad, fmt.Sprintf("%s: not in the table of layers", s.dir))
			continue
		}
		for _, imp := range s.imports {
			switch rel, own := relative(imp); {
			case own && !(matches(rel, allowed) || matches(rel, everyone)):
				bad = append(bad, fmt.Sprintf("%s imports %s: not below it", s.dir, rel))
			case own && slices.Contains(onlyTests, rel) && !slices.Contains(onlyTests, s.dir):
				bad = append(bad, fmt.Sprintf("%s imports %s: for tests only", s.dir, rel))
			case own || standard(imp):
			case !fenced(imp, s.dir):
				bad = append(bad, fmt.Sprintf("%s imports %s: outside its fence", s.dir, imp))
			}
		}
	}
	return bad
}

func lookup(dir string) (allowed []string, known bool) {
	if allowed, known = layers[dir]; known {
		return allowed, true
	}
	for _, rig := range rigs {
		if matches(dir, []string{rig}) {
			return layers[rig], true
		}
	}
	return nil, false
}

func relative(imp string) (string, bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

// matches tells whether dir is in the list, where "x/..." means x and all below it.
func matches(dir string, list []string) bool {
	return slices.ContainsFunc(list, func(pattern string) bool {
		base, all := strings.CutSuffix(pattern, "...")
		base = strings.TrimSuffix(base, "/")
		return dir == pattern || all && (base == "" || dir == base || strings.HasPrefix(dir, base+"/"))
	})
}

func standard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return !strings.Contains(first, ".")
}

func fenced(imp, dir string) bool {
	longest := ""
	for prefix := range fences {
		if (imp == prefix || strings.HasPrefix(imp, prefix+"/")) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	return longest != "" && (slices.Contains(fences[longest], dir) || matches(dir, rigs))
}

func TestImportsStayInsideTheFence(t *testing.T) {
	t.Parallel()
	sources := read(t, filepath.Join("..", ".."))
	require.Greater(t, len(sources), 3, "the walk must find the module")
	require.Empty(t, violations(sources))
}

// read parses the imports of every package. It reads the files itself, not by `go list`, so
// that build tags hide nothing and the test cache knows what the result depends on.
func read(t *testing.T, root string) []source {
	t.Helper()
	found := map[string]map[string]bool{}
	walk(t, root, func(name string, text []byte) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		require.NoError(t, err)
		dir := path.Dir(name)
		if found[dir] == nil {
			found[dir] = map[string]bool{}
		}
		for _, spec := range file.Imports {
			found[dir][unquote(spec.Path)] = true
		}
	})
	var sources []source
	for _, dir := range slices.Sorted(maps.Keys(found)) {
		sources = append(sources, source{dir: dir, imports: slices.Sorted(maps.Keys(found[dir]))})
	}
	return sources
}

// walk calls visit with every Go file below root, named from there with slashes.
func walk(t *testing.T, root string, visit func(name string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if file != root && (name[0] == '.' || name[0] == '_' || name == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err = filepath.Rel(root, file)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(name), text)
		return nil
	})
	require.NoError(t, err)
}

func unquote(lit *ast.BasicLit) string {
	text, err := strconv.Unquote(lit.Value)
	if err != nil {
		panic(err) // the parser accepted it
	}
	return text
}

func TestTestsDoNotSleep(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{} // texts of the test files, by folder
	walk(t, filepath.Join("..", ".."), func(name string, text []byte) {
		if strings.HasSuffix(name, "_test.go") {
			dir := path.Dir(name)
			tests[dir] = append(tests[dir], string(text))
		}
	})
	for dir, texts := range tests {
		require.Zero(t, sleeps(t, texts...), "%s: wait on a channel or a timer, or use a synctest bubble", dir)
	}

	bare := "package x\nimport \"time\"\nfunc f() {\n\ttime.Sleep(1)\n}\n"
	require.Equal(t, 1, sleeps(t, bare))
	require.Zero(t, sleeps(t, bare, "package x\nimport \"testing/synctest\"\n"))
}

// sleeps counts the calls of time.Sleep in the test files of a package that uses no bubbles.
func sleeps(t *testing.T, texts ...string) int {
	t.Helper()
	count := 0
	for _, text := range texts {
		file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, spec := range file.Imports {
			if unquote(spec.Path) == "testing/synctest" {
				return 0
			}
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if sel, ok := node.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
				if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" {
					count++
				}
			}
			return true
		})
	}
	return count
}

func TestTheFenceBites(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		dir, imports string
		want         string // "" is allowed
	}{
		"down":                     {"scheduler", module + "/leases", ""},
		"root from a part":         {"efo", module, ""},
		"network for everyone":     {"kinesistest", module + "/internal/memnet", ""},
		"standard library":         {".", "net/http", ""},
		"rig uses anything":        {"examples/quickstart", module + "/kinesistest", ""},
		"rig uses any third party": {"integration", "github.com/aws/aws-sdk-go-v2/service/kinesis/types", ""},
		"part of an allowed one":   {"efo", "github.com/aws/aws-sdk-go-v2/service/kinesis/types", ""},

		"up":         {"leases", module + "/scheduler", "leases imports scheduler: not below it"},
		"peer":       {"efo", module + "/polling", "efo imports polling: not below it"},
		"peer words": {".", module + "/metrics", ". imports metrics: not below it"},
		"scheduler knows no store": {
			"scheduler", module + "/leases/dynamodb",
			"scheduler imports leases/dynamodb: not below it",
		},
		"fake needs nothing": {"kinesistest", module, "kinesistest imports .: not below it"},
		"helper of tests": {
			"cmd/kinesisfake", module + "/internal/awstest",
			"cmd/kinesisfake imports internal/awstest: for tests only",
		},
		"root is standard only": {
			".", "github.com/aws/smithy-go",
			". imports github.com/aws/smithy-go: outside its fence",
		},
		"SDK outside its fence": {
			"checkpoint", "github.com/aws/aws-sdk-go-v2/service/kinesis",
			"checkpoint imports github.com/aws/aws-sdk-go-v2/service/kinesis: outside its fence",
		},
		"longest prefix decides": {
			"efo", "github.com/aws/aws-sdk-go-v2/service/dynamodb",
			"efo imports github.com/aws/aws-sdk-go-v2/service/dynamodb: outside its fence",
		},
		"test library": {
			"leases", "github.com/stretchr/testify/require",
			"leases imports github.com/stretchr/testify/require: outside its fence",
		},
		"unknown third party": {
			"examples/quickstart", "example.org/new",
			"examples/quickstart imports example.org/new: outside its fence",
		},
		"package without a place": {"util", "fmt", "util: not in the table of layers"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want []string
			if c.want != "" {
				want = []string{c.want}
			}
			require.Equal(t, want, violations([]source{{dir: c.dir, imports: []string{c.imports}}}))
		})
	}
}
