package dynamotest

import (
	"strings"
)

// parser is a recursive-descent parser over one expression:
//
//	or   = and { OR and }
//	and  = not { AND not }
//	not  = NOT not | "(" or ")" | function "(" #name ")" | #name "=" :value
type parser struct {
	kind   string // ConditionExpression or UpdateExpression, for messages
	tokens []string
	names  map[string]string
	values map[string]Value
	used   map[string]bool // placeholders seen, shared by the expressions of one request
}

func tokens(kind, expression string) ([]string, *apiError) {
	if len(expression) > 4096 {
		return nil, validationf("Invalid %s: Expression size has exceeded the maximum allowed size; expression size: %d",
			kind, len(expression))
	}
	var out []string
	for i := 0; i < len(expression); {
		c := expression[i]
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
		case strings.IndexByte("()=,", c) >= 0:
			out = append(out, string(c))
			i++
		case c == '#' || c == ':' || isWord(c):
			j := i + 1
			for j < len(expression) && isWord(expression[j]) {
				j++
			}
			out = append(out, expression[i:j])
			i = j
		default:
			return nil, validationf("Invalid %s: Syntax error; token: %q (dynamotest knows =, AND, OR, NOT, "+
				"attribute_exists, attribute_not_exists, SET, REMOVE)", kind, string(c))
		}
	}
	return out, nil
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (p *parser) next() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *parser) take() string {
	t := p.next()
	if t != "" {
		p.tokens = p.tokens[1:]
	}
	return t
}

// keyword takes the next token if it is the word, in upper or lower case.
func (p *parser) keyword(word string) bool {
	if !strings.EqualFold(p.next(), word) {
		return false
	}
	p.take()
	return true
}

func (p *parser) syntax(token string) *apiError {
	if token == "" {
		token = "<EOF>"
	}
	return validationf("Invalid %s: Syntax error; token: %q (dynamotest knows a part of the language only; see its "+
		"package comment)", p.kind, token)
}

func (p *parser) expect(token string) *apiError {
	if t := p.take(); t != token {
		return p.syntax(t)
	}
	return nil
}

func (p *parser) condition() (condition, *apiError) {
	c, err := p.or()
	if err == nil && p.next() != "" {
		err = p.syntax(p.next())
	}
	return c, err
}

func (p *parser) or() (condition, *apiError) {
	left, err := p.and()
	for err == nil && p.keyword("OR") {
		var right condition
		a := left
		if right, err = p.and(); err == nil {
			left = func(i Item) bool { return a(i) || right(i) }
		}
	}
	return left, err
}

func (p *parser) and() (condition, *apiError) {
	left, err := p.not()
	for err == nil && p.keyword("AND") {
		var right condition
		a := left
		if right, err = p.not(); err == nil {
			left = func(i Item) bool { return a(i) && right(i) }
		}
	}
	return left, err
}

func (p *parser) not() (condition, *apiError) {
	switch {
	case p.keyword("NOT"):
		c, err := p.not()
		return func(i Item) bool { return !c(i) }, err
	case p.next() == "(":
		p.take()
		c, err := p.or()
		if err == nil {
			err = p.expect(")")
		}
		return c, err
	case p.next() == "attribute_exists", p.next() == "attribute_not_exists":
		want := p.take() == "attribute_exists"
		if err := p.expect("("); err != nil {
			return nil, err
		}
		name, err := p.attribute()
		if err == nil {
			err = p.expect(")")
		}
		return func(i Item) bool { _, ok := i[name]; return ok == want }, err
	}
	return p.comparison()
}

// comparison parses #a = :v. It is false if the item has no such attribute.
func (p *parser) comparison() (condition, *apiError) {
	name, err := p.attribute()
	if err != nil {
		return nil, err
	}
	if err := p.expect("="); err != nil {
		return nil, err
	}
	want, err := p.value()
	return func(i Item) bool { v, ok := i[name]; return ok && v.same(want) }, err
}

// unreserved are names that Java workers write as they are. None is a reserved word of the service.
var unreserved = map[string]bool{"leaseOwner": true}

func (p *parser) attribute() (string, *apiError) {
	t := p.take()
	if unreserved[t] {
		return t, nil
	}
	if !strings.HasPrefix(t, "#") {
		if t != "" && isWord(t[0]) {
			return "", validationf("Invalid %s: dynamotest does not know the reserved words, so it wants #name in place of %s",
				p.kind, t)
		}
		return "", p.syntax(t)
	}
	name, ok := p.names[t]
	if !ok {
		return "", validationf("Invalid %s: An expression attribute name used in the document path is not defined; "+
			"attribute name: %s", p.kind, t)
	}
	p.used[t] = true
	return name, nil
}

func (p *parser) value() (Value, *apiError) {
	t := p.take()
	if !strings.HasPrefix(t, ":") {
		return Value{}, p.syntax(t)
	}
	v, ok := p.values[t]
	if !ok {
		return Value{}, validationf("Invalid %s: An expression attribute value used in expression is not defined; "+
			"attribute value: %s", p.kind, t)
	}
	p.used[t] = true
	return v, nil
}

// update parses SET #a = :v, ... REMOVE #b, ... with each clause at most once.
func (p *parser) update() ([]change, *apiError) {
	var changes []change
	clauses := map[string]bool{}
	for p.next() != "" {
		clause := strings.ToUpper(p.take())
		if clause != "SET" && clause != "REMOVE" {
			return nil, p.syntax(clause)
		}
		if clauses[clause] {
			return nil, validationf("Invalid %s: The %q section can only be used once in an update expression;", p.kind, clause)
		}
		clauses[clause] = true
		for {
			name, err := p.attribute()
			if err != nil {
				return nil, err
			}
			c := change{attribute: name, action: removeAttribute}
			if clause == "SET" {
				c.action = setValue
				if err := p.expect("="); err != nil {
					return nil, err
				}
				if c.value, err = p.value(); err != nil {
					return nil, err
				}
			}
			changes = append(changes, c)
			if p.next() != "," {
				break
			}
			p.take()
		}
	}
	seen := map[string]bool{}
	for _, c := range changes {
		if seen[c.attribute] {
			return nil, validationf("Invalid %s: Two document paths overlap with each other; must remove or rewrite one of "+
				"these paths; path one: [%s], path two: [%s]", p.kind, c.attribute, c.attribute)
		}
		seen[c.attribute] = true
	}
	return changes, nil
}
