package settings

import (
	"cmp"
	"strings"
)

// Document returns the table of keys in Markdown, for docs/multilang.md.
func Document() string {
	var b strings.Builder
	b.WriteString("| key | values | default | here |\n|---|---|---|---|\n")
	for _, k := range keys {
		names := "`" + k.name + "`"
		for _, alias := range k.aliases {
			names += ", `" + alias + "`"
		}
		effect := k.effect
		if k.reason != "" {
			effect = "No effect: " + k.reason
		}
		effect = strings.ToUpper(effect[:1]) + effect[1:] + "."
		cells := []string{names, k.value.form, cmp.Or(k.preset, "none"), effect}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	return b.String()
}
