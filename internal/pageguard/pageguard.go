// Package pageguard ends a DynamoDB scan or query whose pages never end. leases/dynamodb and
// internal/gokcl use it.
package pageguard

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Guard counts the keys that end the pages of one scan or query. DynamoDB names no key twice. A
// server that imitates DynamoDB may, and the loop over its pages would never end. The zero value
// has counted nothing. A Guard is not safe for concurrent use.
type Guard struct{ ends map[string]int }

// endsAllowed is how often a key may end a page. Some servers repeat it for an empty page.
const endsAllowed = 10

// Next tells whether another page follows the page with the LastEvaluatedKey last. It returns an
// error that names call and table if last has ended more than ten pages.
func (g *Guard) Next(call, table string, last map[string]types.AttributeValue) (more bool, err error) {
	if len(last) == 0 {
		return false, nil
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(last)) {
		value := ""
		if s, ok := last[name].(*types.AttributeValueMemberS); ok {
			value = s.Value
		}
		parts = append(parts, fmt.Sprintf("%s %q", name, value))
	}
	end := strings.Join(parts, ", ")
	if g.ends == nil {
		g.ends = map[string]int{}
	}
	g.ends[end]++
	if g.ends[end] > endsAllowed {
		return false, fmt.Errorf("%s table %s: the pages do not end, LastEvaluatedKey is %s again and again",
			call, table, end)
	}
	return true, nil
}
