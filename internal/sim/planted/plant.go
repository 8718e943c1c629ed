package planted

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Variable is the name of the environment variable that chooses a planted bug by its name.
const Variable = "KCL_PLANTED"

// Plant plants all bugs at once. It returns the changed and new files of the module, by their names
// relative to its root. Each function with a bug gets a copy with the mistake. The function calls
// the copy if [Variable] names the bug:
//
//	func Window(failover time.Duration) time.Duration {
//		if planted == "trust-too-long" {
//			return Window_trust_too_long(failover)
//		}
//		...
//
// So one build serves all bugs. A bug does nothing in a process that does not choose it.
func Plant(root string, bugs []Bug) (map[string]string, error) {
	files := map[string]*source{}
	var errs []error
	for _, b := range bugs {
		for _, e := range b.Edits {
			f := files[e.File]
			if f == nil {
				var err error
				if f, err = readSource(root, e.File); err != nil {
					return nil, fmt.Errorf("planted: %s: %w", b.Name, err)
				}
				files[e.File] = f
			}
			if err := f.plant(b.Name, e); err != nil {
				errs = append(errs, fmt.Errorf("planted: %s: %w", b.Name, err))
			}
		}
	}
	changed := map[string]string{}
	for name, f := range files {
		changed[name] = f.write()
		changed[path.Join(path.Dir(name), "zz_planted.go")] = fmt.Sprintf(
			"package %s\n\nimport \"os\"\n\nvar planted = os.Getenv(%q)\n", f.ast.Name.Name, Variable)
	}
	return changed, errors.Join(errs...)
}

// source is a file of the library with its planted functions.
type source struct {
	text      string
	ast       *ast.File
	functions map[*ast.FuncDecl]map[string]string // the text of the copy, by function and bug
}

func readSource(root, name string) (*source, error) {
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return nil, err
	}
	f, err := parser.ParseFile(token.NewFileSet(), name, data, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &source{string(data), f, map[*ast.FuncDecl]map[string]string{}}, nil
}

// offset returns the place of a node in the text. A file set with one file begins at 1.
func offset(p token.Pos) int { return int(p) - 1 }

// plant applies an edit to the copy of its function.
func (f *source) plant(bug string, e Edit) error {
	found := occurrences(f.text, e.Old)
	if len(found) != 1 {
		return fmt.Errorf("these lines occur %d times in %s, and must occur once:\n%s", len(found), e.File, e.Old)
	}
	from, to := found[0], found[0]+len(e.Old)
	for _, d := range f.ast.Decls {
		d, ok := d.(*ast.FuncDecl)
		if !ok || d.Body == nil || offset(d.Body.Lbrace) >= from || offset(d.Body.Rbrace) < to {
			continue
		}
		if f.functions[d] == nil {
			f.functions[d] = map[string]string{}
		}
		body, edited := f.functions[d][bug]
		if !edited {
			body = f.text[offset(d.Body.Lbrace) : offset(d.Body.Rbrace)+1]
		}
		if again := occurrences(body, e.Old); len(again) == 1 {
			f.functions[d][bug] = body[:again[0]] + e.New + body[again[0]+len(e.Old):]
			return nil
		}
		return fmt.Errorf("two edits of %s overlap", e.File)
	}
	return fmt.Errorf("these lines of %s do not lie in the body of one function:\n%s", e.File, e.Old)
}

// write returns the text with the planted functions.
func (f *source) write() string {
	var b strings.Builder
	end := 0
	for _, d := range f.ast.Decls {
		d, ok := d.(*ast.FuncDecl)
		if !ok || f.functions[d] == nil {
			continue
		}
		head, brace := offset(d.Pos()), offset(d.Body.Lbrace)
		b.WriteString(f.text[end:head])
		s := signatureOf(f.text, d)
		b.WriteString(s.text(d.Name.Name))
		b.WriteString("{\n")
		names := slices.Sorted(maps.Keys(f.functions[d]))
		for _, bug := range names {
			fmt.Fprintf(&b, "\tif planted == %q {\n\t\t%s\n\t}\n", bug, s.call(copyName(d, bug)))
		}
		end = offset(d.Body.Rbrace) + 1
		b.WriteString(f.text[brace+1 : end])
		for _, bug := range names {
			b.WriteString("\n\n" + s.text(copyName(d, bug)) + f.functions[d][bug])
		}
	}
	b.WriteString(f.text[end:])
	return b.String()
}

func copyName(d *ast.FuncDecl, bug string) string {
	return d.Name.Name + "_" + strings.ReplaceAll(bug, "-", "_")
}

// signature is the head of a function. All its parameters have names.
type signature struct {
	receiver, types, parameters, results string // as they are written
	receiverName, typeNames, arguments   string // as a call needs them
}

func signatureOf(text string, d *ast.FuncDecl) signature {
	node := func(n ast.Node) string { return text[offset(n.Pos()):offset(n.End())] }
	var s signature
	count := 0
	// fields returns the fields of a list, and their names.
	fields := func(l *ast.FieldList) (written, names []string) {
		for _, p := range l.List {
			var own []string
			for _, n := range p.Names {
				own = append(own, n.Name)
			}
			if len(own) == 0 {
				own = []string{"_"}
			}
			for i := range own {
				if own[i] == "_" {
					own[i] = fmt.Sprintf("unnamed%d", count)
					count++
				}
			}
			written = append(written, strings.Join(own, ", ")+" "+node(p.Type))
			if _, variadic := p.Type.(*ast.Ellipsis); variadic {
				own[len(own)-1] += "..."
			}
			names = append(names, own...)
		}
		return written, names
	}
	if d.Recv != nil {
		written, names := fields(d.Recv)
		s.receiver, s.receiverName = "("+written[0]+") ", names[0]+"."
	}
	if d.Type.TypeParams != nil {
		_, names := fields(d.Type.TypeParams)
		s.types, s.typeNames = node(d.Type.TypeParams), "["+strings.Join(names, ", ")+"]"
	}
	written, names := fields(d.Type.Params)
	s.parameters, s.arguments = strings.Join(written, ", "), strings.Join(names, ", ")
	if d.Type.Results != nil {
		s.results = node(d.Type.Results) + " "
	}
	return s
}

// text returns the head of a function with the name.
func (s signature) text(name string) string {
	return "func " + s.receiver + name + s.types + "(" + s.parameters + ") " + s.results
}

// call returns the statements that end a function with a call of another one.
func (s signature) call(name string) string {
	call := s.receiverName + name + s.typeNames + "(" + s.arguments + ")"
	if s.results == "" {
		return call + "\n\t\treturn"
	}
	return "return " + call
}
