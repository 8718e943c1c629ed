package journal

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// Reader reads the bytes of one journal, piece by piece. The zero value is ready.
type Reader struct {
	// Batch is called with each batch, once. Those without confirmation come at Close.
	Batch func(Batch)
	// Torn counts the batches that were cut.
	Torn int

	line    []byte            // the last line, as far as it is there
	open    *Batch            // the batch whose records come, or nil
	number  string            // of open
	want    int               // how many records it has
	written map[string]*Batch // complete batches without confirmation, by number
}

// Write takes the next bytes of the file. The error is always nil.
func (r *Reader) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		r.line = append(r.line, line...)
		if !whole {
			return n, nil
		}
		r.take(string(r.line))
		r.line, p = r.line[:0], rest
	}
}

// Close hands out the batches that were never confirmed. It ends the reader.
func (r *Reader) Close() {
	if r.open != nil {
		r.Torn++
		r.open = nil
	}
	numbers := make([]string, 0, len(r.written))
	for number := range r.written {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		r.Batch(*r.written[number])
	}
	r.written = nil
}

// take handles a whole line. A line that is no line of a batch belongs to one that was cut.
func (r *Reader) take(line string) {
	fields := strings.Fields(line)
	switch {
	case len(fields) == 0:
	case fields[0] == "B":
		if r.open != nil {
			r.Torn++
			r.open = nil
		}
		if len(fields) == 5 {
			r.number = fields[1]
			r.open = &Batch{Shard: fields[2], Began: number(fields[3])}
			r.want = int(number(fields[4]))
		} else {
			r.Torn++
		}
	case fields[0] == "E":
		if r.open != nil && len(fields) == 3 && fields[1] == r.number && len(r.open.Entries) == r.want {
			if r.written == nil {
				r.written = map[string]*Batch{}
			}
			r.written[r.number] = r.open
		} else if r.open != nil {
			r.Torn++
		}
		r.open = nil
	case fields[0] == "D":
		if batch := r.written[fields[min(1, len(fields)-1)]]; batch != nil && len(fields) == 4 {
			batch.Done = number(fields[2])
			delete(r.written, fields[1])
			r.Batch(*batch)
		}
	case r.open != nil && len(fields) == 4:
		r.open.Entries = append(r.open.Entries, Entry{
			Sequence: fields[0], Sub: number(fields[1]), Key: fields[2], Counter: int(number(fields[3])),
		})
	}
}

// number reads a number of a line. A cut line may have none; its batch does not count.
func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}
