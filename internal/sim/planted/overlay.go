package planted

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// overlay writes the changed files of a bug into dir. It returns the name of the file for the flag
// -overlay of the go command.
func (b Bug) overlay(root, dir string) (string, error) {
	changed, err := b.Apply(root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for name, text := range changed {
		to := filepath.Join(dir, fmt.Sprintf("%d-%s", len(replace), filepath.Base(name)))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, name)] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, data, 0o600)
}
