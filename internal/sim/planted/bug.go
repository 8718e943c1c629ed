package planted

import (
	"embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed bugs/*.txt
var texts embed.FS

// Bug is a mistake that can be planted in the library.
type Bug struct {
	Name string
	// Text describes the mistake.
	Text string
	// Tests are the folders of the packages whose ordinary tests may find the bug.
	Tests []string
	Edits []Edit
}

// Edit replaces lines of a file.
type Edit struct {
	File     string // relative to the root of the module
	Old, New string // whole lines
}

// All returns all bugs, sorted by name.
func All() ([]Bug, error) {
	files, err := texts.ReadDir("bugs")
	if err != nil {
		return nil, err
	}
	var bugs []Bug
	var errs []error
	for _, f := range files {
		text, err := texts.ReadFile("bugs/" + f.Name())
		if err != nil {
			return nil, err
		}
		b, err := parse(strings.TrimSuffix(f.Name(), ".txt"), string(text))
		bugs, errs = append(bugs, b), append(errs, err)
	}
	return bugs, errors.Join(errs...)
}

// parse reads the text of a bug.
func parse(name, text string) (Bug, error) {
	b := Bug{Name: name}
	head, edits, ok := strings.Cut(text, "\n--- ")
	if !ok {
		return b, fmt.Errorf("planted: %s has no line that begins with ---", name)
	}
	if b.Text = strings.Join(strings.Fields(head), " "); b.Text == "" {
		return b, fmt.Errorf("planted: %s has no description", name)
	}
	for _, part := range strings.Split("\n"+edits, "\n--- ") {
		file, lines, _ := strings.Cut(strings.TrimPrefix(part, "\n"), "\n")
		e := Edit{File: file}
		for line := range strings.Lines(strings.TrimSuffix(lines, "\n") + "\n") {
			switch {
			case line == "\n":
				e.Old, e.New = e.Old+line, e.New+line
			case line[0] == ' ':
				e.Old, e.New = e.Old+line[1:], e.New+line[1:]
			case line[0] == '-':
				e.Old += line[1:]
			case line[0] == '+':
				e.New += line[1:]
			default:
				return b, fmt.Errorf("planted: %s: a line begins with neither a space nor - nor +: %q", name, line)
			}
		}
		if e.Old == e.New || strings.TrimSpace(e.Old) == "" {
			return b, fmt.Errorf("planted: %s: the edit of %s changes nothing, or names no old lines", name, file)
		}
		b.Edits = append(b.Edits, e)
		if pkg := path.Dir(file); !slices.Contains(b.Tests, pkg) {
			b.Tests = append(b.Tests, pkg)
		}
	}
	return b, nil
}

// occurrences returns where lines begin in a text.
func occurrences(text, lines string) (at []int) {
	for i := range len(text) {
		if (i == 0 || text[i-1] == '\n') && strings.HasPrefix(text[i:], lines) {
			at = append(at, i)
		}
	}
	return at
}
