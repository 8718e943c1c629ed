package settings

import (
	"slices"
	"strings"
)

// key is one row of the table of keys.
type key struct {
	// name is the name in the properties file. A name that ends in anyName stands for all keys with
	// the text before it.
	name string
	// aliases are other names of the key.
	aliases []string
	value   value
	// effect says what the key does. It is empty for a key without effect.
	effect string
	// reason says why the key has no effect here. It is empty for a key with an effect.
	reason string
	// preset is the value of a key that is not given, for the document.
	preset string
	// boxed says that 0 and false count: the field in Java is an Integer, a Long or a Boolean.
	boxed bool
	// polling says that the key selects polling with retrievalMode DEFAULT.
	polling bool
}

// anyName ends the name of a row for several keys.
const anyName = "*"

// providerKey begins the only names for which upper and lower case do not matter.
const providerKey = "AwsCredentialsProvider"

// find returns the row of a key. Rows with a full name come first.
func find(name string) (key, bool) {
	if n := len(providerKey); len(name) >= n && strings.EqualFold(name[:n], providerKey) {
		name = providerKey + name[n:]
	}
	for _, k := range keys {
		if k.name == name || slices.Contains(k.aliases, name) {
			return k, true
		}
	}
	for _, k := range keys {
		if prefix, ok := strings.CutSuffix(k.name, anyName); ok && strings.HasPrefix(name, prefix) {
			return k, true
		}
	}
	return key{}, false
}

// minPart is the least number of letters of a word that is taken for a part of a known name.
const minPart = 6

// nearest returns the known name that is most like an unknown one, or that contains it. It returns
// "" if no name is like it.
func nearest(name string) string {
	name = strings.ToLower(name)
	best, least := "", max(2, len(name)/3)+1
	for _, k := range keys {
		for _, known := range append([]string{k.name}, k.aliases...) {
			if strings.HasSuffix(known, anyName) {
				continue
			}
			lower := strings.ToLower(known)
			d := distance(name, lower)
			if len(name) >= minPart && strings.Contains(lower, name) {
				d = min(d, 1)
			}
			if d < least {
				best, least = k.name, d
			}
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace between two words (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
