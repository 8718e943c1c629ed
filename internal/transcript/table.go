package transcript

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Format lists the tables of a test by their first column, each with its other columns.
// The entry "" lists the settings.
type Format map[string][]string

// Row is one row of a table: the cells by column. A hyphen in the file is an empty cell.
type Row map[string]string

// Scene is the parsed input of one scene.
type Scene struct {
	// Settings are the lines "name: value".
	Settings map[string]string
	// Tables are the rows by the first column of their table.
	Tables map[string][]Row
}

// Parse reads an input of comments, settings and tables. The header of a table is in
// capital letters, and a row has no spaces inside a cell. A name that is missing in the
// format fails the test.
func Parse(t *testing.T, input string, format Format) Scene {
	t.Helper()
	s := Scene{Settings: map[string]string{}, Tables: map[string][]Row{}}
	var header []string
	for line := range strings.SplitSeq(input, "\n") {
		cells := strings.Fields(line)
		switch name, value, isSetting := strings.Cut(line, ": "); {
		case line[0] == '#':
		case isHeader(line):
			header = cells
			require.Contains(t, format, header[0], line)
			for _, column := range header[1:] {
				require.Contains(t, format[header[0]], column, line)
			}
		case isSetting:
			require.Contains(t, format[""], name, line)
			s.Settings[name] = value
		default:
			require.Len(t, cells, len(header), line)
			row := Row{}
			for i, cell := range cells {
				if cell != "-" {
					row[header[i]] = cell
				}
			}
			s.Tables[header[0]] = append(s.Tables[header[0]], row)
		}
	}
	return s
}

// isHeader tells whether a line begins a table: its first word is in capital letters.
func isHeader(line string) bool {
	first, _, _ := strings.Cut(line, " ")
	return len(first) > 1 && strings.Trim(first, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// align puts the cells of each table below its header.
func align(input string) string {
	var out []string
	var table [][]string
	flush := func() {
		out = append(out, columns(table)...)
		table = nil
	}
	for line := range strings.SplitSeq(input, "\n") {
		switch {
		case isHeader(line):
			flush()
			table = [][]string{strings.Fields(line)}
		case table == nil || line == "" || line[0] == '#' || strings.Contains(line, ": "):
			flush()
			out = append(out, line)
		default:
			table = append(table, strings.Fields(line))
		}
	}
	flush()
	return strings.Join(out, "\n")
}

// columns writes the rows of one table, two spaces between its columns.
func columns(rows [][]string) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var lines []string
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}
