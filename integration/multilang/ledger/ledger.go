// Package ledger writes the lines that every client of the MultiLang tests writes: see
// journal_test.go in the folder integration.
package ledger

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Ledger is a file of this process. Each line is one write, so that a killed process leaves whole
// lines.
type Ledger struct {
	file    *os.File
	batches int
}

// Open makes the file in the folder that the variable LEDGER names.
func Open() (*Ledger, error) {
	name := fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())
	file, err := os.OpenFile(filepath.Join(os.Getenv("LEDGER"), name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &Ledger{file: file}, nil
}

// Note writes one line. An error is a full disk, and then the test misses the line.
func (l *Ledger) Note(event, shard, sequence, data string) {
	_, _ = fmt.Fprintf(l.file, "%d\t%s\t%s\t%s\t%s\n", time.Now().UnixMicro(), event, shard, sequence, data)
}

// Record notes a record, whose data begins with a key and a number.
func (l *Ledger) Record(shard, position string, data []byte) {
	key, rest, _ := bytes.Cut(data, []byte(" "))
	number, _, _ := bytes.Cut(rest, []byte(" "))
	l.Note("record", shard, position, fmt.Sprintf("%s %s %x", key, number, md5.Sum(data)))
}

// Noise prints what must not reach the daemon as a message, and at times 1 MiB.
func (l *Ledger) Noise() {
	fmt.Print("noise\n\n[1]\n{\"action\": \"dance\"}\n{\"action\": \"status\", \"responseFor\": \"initialize\"}\n")
	if l.batches%16 == 0 {
		fmt.Println(strings.Repeat("x", 1<<20))
	}
	fmt.Print("no end of the line")
	l.batches++
}

// Position is one number for both: a record's number in the shard, then its number in its
// aggregate.
func Position(sequence string, sub int64) string { return fmt.Sprintf("%s%04d", sequence, sub) }
