package fence

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// maxMeanWords is how many words the sentences of a document have at most, on the average.
const maxMeanWords = 16

// minSentence is the least number of words that count as a sentence: a cell "10 s" does not.
const minSentence = 4

// TestSentencesAreShort counts the words of each document's sentences.
func TestSentencesAreShort(t *testing.T) {
	t.Parallel()
	var documents []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../integration/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		documents = append(documents, found...)
	}
	require.NotEmpty(t, documents)
	for _, document := range documents {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		words, longest := 0, ""
		all := sentences(string(text))
		for _, s := range all {
			words += len(strings.Fields(s))
			if len(strings.Fields(s)) > len(strings.Fields(longest)) {
				longest = s
			}
		}
		mean := float64(words) / float64(max(len(all), 1))
		t.Logf("%s: %d sentences of %.1f words", filepath.Base(document), len(all), mean)
		if mean > maxMeanWords {
			t.Errorf("%s: split its sentences, such as: %s", document, longest)
		}
	}
}

var (
	codeBlock   = regexp.MustCompile("(?s)(?:^|\n) *```.*?\n *```[^\n]*")
	indented    = regexp.MustCompile(`(?m)^(?:[ ]{4}|\t).*$`)
	codeSpan    = regexp.MustCompile("`[^`\n]+`")
	link        = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	newItem     = regexp.MustCompile(`(?m)^\s*(?:[-*]|\d+\.|#+) `)
	sentenceEnd = regexp.MustCompile(`[.!?][)*"]*(?:\s+|$)|\||\n\s*\n`)
)

// sentences returns the sentences of a document in Markdown. A list item, a heading and a table
// cell end a sentence.
func sentences(text string) []string {
	text = codeBlock.ReplaceAllString(text, "\n\n")
	text = indented.ReplaceAllString(text, "\n\n")
	text = codeSpan.ReplaceAllString(text, "code")
	text = link.ReplaceAllString(text, "$1")
	text = newItem.ReplaceAllString(text, "\n\n")
	var out []string
	for _, s := range sentenceEnd.Split(text, -1) {
		if s = strings.Join(strings.Fields(s), " "); len(strings.Fields(s)) >= minSentence {
			out = append(out, s)
		}
	}
	return out
}

func TestSentencesBites(t *testing.T) {
	t.Parallel()
	text := "# How to read it\n\nOne lease, one owner. The `go f(x, y)` call\nreturns at [the end](a.md).\n\n" +
		"```go\nthis is no sentence of ours\n```\n- A list item is one\n- So is this one. (And what it says.) \n\n" +
		"| cell | a cell of five words |\n"
	require.Equal(t, []string{
		"How to read it", "One lease, one owner", "The code call returns at the end", "A list item is one", "So is this one",
		"(And what it says", "a cell of five words",
	}, sentences(text))
}
