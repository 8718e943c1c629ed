package dynamodb

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// pages notices pages that never end. DynamoDB names no key twice in one scan or query, but a
// server that imitates it may, and the loop over its pages would go on for ever.
type pages struct{ ends map[string]int }

// endsAllowed is how often a key may end a page of one scan. Some servers repeat it for an empty
// page.
const endsAllowed = 10

// next tells whether another page follows the one that ends with the key last.
func (p *pages) next(action string, t *table, last item) (bool, error) {
	if len(last) == 0 {
		return false, nil
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(last)) {
		parts = append(parts, fmt.Sprintf("%s %q", name, textOf(last, name)))
	}
	end := strings.Join(parts, ", ")
	if p.ends == nil {
		p.ends = map[string]int{}
	}
	p.ends[end]++
	if p.ends[end] > endsAllowed {
		return false, fmt.Errorf("%s table %s: the pages do not end, LastEvaluatedKey is %s again and again",
			action, t.name, end)
	}
	return true, nil
}
