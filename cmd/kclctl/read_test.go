package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

func TestList(t *testing.T) {
	r := newRig(t, fleet()...)
	r.poison()
	for name, args := range map[string][]string{
		"list.txt": {"list"}, "list.json": {"list", "-json"}, "list-owner.txt": {"list", "--owner", "worker-1"},
	} {
		got := r.leases(args...)
		require.Equal(t, statusOK, got.status, got.errors)
		require.Empty(t, got.errors)
		golden(t, name, got.out)
		requireHarmless(t, got.out)
	}
	require.Zero(t, r.srv.Calls("UpdateItem")+r.srv.Calls("DeleteItem"), "list does not write")
}

// requireHarmless fails if out can move the cursor of a terminal.
func requireHarmless(t *testing.T, out string) {
	t.Helper()
	require.NotContains(t, out, "\x1b")
	require.NotContains(t, out, "\u202e")
}

func TestHostileNames(t *testing.T) {
	evil := "w\x1b]0;owned\a\u202e\u009b2J\n\t😀\U000e0001"
	r := newRig(t, lease("shardId-000000000000", heldBy(evil, 1)))
	for _, args := range [][]string{
		{"list"},
		{"show", "shardId-000000000000"},
		{"release", "-yes", "shardId-000000000000"},
	} {
		got := r.leases(args...)
		require.Equal(t, statusOK, got.status, got.errors)
		requireHarmless(t, got.out+got.errors)
	}
	require.NoError(t, r.store.Create(t.Context(), lease("b", heldBy(evil, 1))))
	got := r.leases("list", "-json")
	requireHarmless(t, got.out)
	var parsed struct{ Leases []view.Row }
	require.NoError(t, json.Unmarshal([]byte(got.out), &parsed))
	require.Equal(t, evil, parsed.Leases[0].Owner, "JSON escapes and loses nothing")
}

func TestShow(t *testing.T) {
	r := newRig(t, fleet()...)
	r.poison()
	keys := []string{"shardId-000000000001", "shardId-000000000003"}
	got := r.leases(append([]string{"show"}, keys...)...)
	require.Equal(t, statusOK, got.status, got.errors)
	golden(t, "show.txt", got.out)
	got = r.leases(append(append([]string{"show"}, keys...), "-json")...)
	require.Equal(t, statusOK, got.status, got.errors)
	golden(t, "show.json", got.out)
	require.NotContains(t, got.out, "c3RhdGU", "the prepared state is not printed")

	got = r.leases("show", "shardId-000000000009", "nobody")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "attribute leaseCounter is S")
	require.Contains(t, got.errors, `there is no lease "nobody" in table orders`)
	requireHarmless(t, got.errors)
}

func TestNoTable(t *testing.T) {
	r := newRig(t)
	got := kclctl(t, strings.NewReader(""), "leases", "list", "-application", "typo", "-endpoint", r.url)
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "there is no table typo here: check -table, the region and the account")
	require.Nil(t, r.srv.Items("typo"), "list makes no table")
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                     "a command is missing",
		"lease list":           `unknown command "lease"`,
		"leases":               "a command is missing after leases",
		"leases lost":          `unknown command leases "lost"`,
		"leases list":          "-table is missing",
		"leases list -table x": `-table "x"`,
		"leases list -table orders -application payments":                        "different tables",
		"leases list -table orders KEY":                                          "unexpected argument",
		"leases list -table orders -store mongo":                                 `-store "mongo"`,
		"leases list -table orders -nope":                                        "flag provided but not defined: -nope",
		"leases list -table orders -store redis":                                 "-redis is missing",
		"leases list -table orders -redis http://u:pass@h":                       "-redis is not a URL",
		"leases list -table orders -redis redis://u:pass@h -redis-mode ring":     `-redis-mode "ring"`,
		"leases list -table orders -redis redis://u:pass@h -redis-mode sentinel": "master_name",
		"leases list -table orders -redis redis://u:pass@h -redis-prefix {a}":    "Config.KeyPrefix",
		"leases import -table orders -from old-orders -from-store redis":         "-from-redis is missing",
		"leases list -table orders -endpoint user:pass@h":                        "-endpoint is not a URL",
		"leases show -table orders":                                              "a KEY is missing",
		"leases release -table orders":                                           "give the KEYs",
		"leases release -table orders -owner w KEY":                              "give the KEYs",
		"leases set-checkpoint -table orders KEY":                                "give the KEY of a lease and a POSITION",
		"leases set-checkpoint -table orders KEY 0x7":                            `POSITION "0x7"`,
		"leases set-checkpoint -table orders KEY LATEST/1":                       `POSITION "LATEST/1"`,
		"leases set-checkpoint -table orders KEY 12/-1":                          `POSITION "12/-1"`,
		"leases delete -table orders":                                            "or -all",
		"leases delete -table orders -all KEY":                                   "or -all",
		"leases delete -table orders -stream x KEY":                              "-stream belongs to -all",
		"leases adopt -table orders -created yesterday":                          "is not a time",
		"leases adopt -table orders -stream a/b":                                 "neither the name",
		"leases audit -table orders KEY":                                         "unexpected argument",

		"leases adopt -table orders": "give -application NAME, -stream NAME, or -created TIME",
		"leases import -table orders -from old-orders -from-store redis " +
			"-from-redis redis://:pass@h/x": "-from-redis is not a URL",
	} {
		got := kclctl(t, strings.NewReader(""), strings.Fields(line)...)
		require.Equal(t, statusUsage, got.status, line)
		require.Contains(t, got.errors, want, line)
		require.NotContains(t, got.errors, "pass", line)
		require.Empty(t, got.out, line)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	got := kclctl(t, strings.NewReader(""), "help")
	require.Equal(t, statusOK, got.status)
	golden(t, "help.txt", got.out)
	for _, c := range commands() {
		require.Contains(t, got.out, c.summary)
		for _, args := range [][]string{{"leases", "help", c.name}, {"leases", c.name, "-h"}} {
			got := kclctl(t, strings.NewReader(""), args...)
			require.Equal(t, statusOK, got.status)
			require.Contains(t, got.out, "Examples:\n  kclctl leases "+c.name)
			require.Contains(t, got.out, "-table name")
			require.Empty(t, got.errors)
		}
	}
}

// TestExamplesParse runs the command lines of the help and of the document. They are right, and
// fail only because no server listens.
func TestExamplesParse(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, c := range commands() {
		_, examples, _ := strings.Cut(c.help, "Examples:\n")
		for line := range strings.Lines(examples) {
			require.Contains(t, line, "kclctl leases "+c.name)
			lines = append(lines, line)
		}
	}
	text, err := os.ReadFile("../../docs/migration.md")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "kclctl ") {
			lines = append(lines, line)
		}
	}
	require.Greater(t, len(lines), 30)
	redis := "redis://" + nowhere
	toNowhere := strings.NewReplacer("-from-store redis", "-from-store redis -from-redis "+redis, "-store redis -t",
		"-redis "+redis+" -t", "redis://10.0.0.7:6379", redis)
	for _, line := range lines {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " |")
		args := strings.Fields(toNowhere.Replace(line))[1:]
		t.Run(args[1], func(t *testing.T) {
			t.Parallel()
			got := kclctl(t, strings.NewReader(""), args...)
			require.Equal(t, statusFailed, got.status, "%s: %s", line, got.errors)
			require.Contains(t, got.errors, "refused", line)
		})
	}
}

func TestForeignTableIsNamed(t *testing.T) {
	r := newRig(t)
	r.makeOld("old-orders", dynamotest.Item{"ShardID": dynamotest.S("shardId-000000000000")})
	got := kclctl(t, strings.NewReader(""), "leases", "list", "-table", "old-orders", "-endpoint", r.url)
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "kclctl leases import -from old-orders")
}

func TestAudit(t *testing.T) {
	r := newRig(t, fleet()...)
	got := r.leases("audit")
	require.Equal(t, statusOK, got.status, got.out+got.errors)
	golden(t, "audit-clean.txt", got.out)

	r.poison()
	require.NoError(t, r.store.Delete(t.Context(), leases.Lease{Key: "shardId-000000000002"}, 0))
	got = r.leases("audit")
	require.Equal(t, statusFailed, got.status)
	golden(t, "audit.txt", got.out)
	got = r.leases("audit", "-json")
	require.Equal(t, statusFailed, got.status)
	golden(t, "audit.json", got.out)
	requireHarmless(t, got.out)
}
