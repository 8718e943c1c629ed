package protocol

import (
	"fmt"
	"strconv"
)

// FromChild is a message that a child sends: a status or a checkpoint.
type FromChild struct {
	// Action is Status or Checkpoint.
	Action Action
	// ResponseFor is the action that a status answers. It is empty if the child named none.
	ResponseFor Action
	// Asked is the position that a checkpoint names.
	Asked Asked
}

// ParseFromChild reads a line of a child. The error says why the line is no message. The daemon
// logs such a line and goes on, because children also print other lines. It is as strict as the
// Java daemon: a message with an unknown field is no message, and text after a message does not
// matter. It changes the line, and keeps nothing of it.
func ParseFromChild(line []byte) (FromChild, error) {
	var m FromChild
	s := scanner{line: line}
	err := s.object(func(name []byte) error {
		var text *string
		var err error
		switch string(name) {
		case "action":
			if text, err = s.scalar(); text != nil {
				m.Action = Action(*text)
			}
		case "responseFor":
			if text, err = s.scalar(); text != nil {
				m.ResponseFor = Action(*text)
			}
		case "sequenceNumber":
			m.Asked.SequenceNumber, err = s.scalar()
		case "subSequenceNumber":
			m.Asked.SubSequenceNumber, err = s.long()
		case "error":
			_, err = s.scalar()
		default:
			err = fmt.Errorf("field %.40q is unknown", name)
		}
		return err
	})
	if err != nil {
		return FromChild{}, err
	}
	switch m.Action {
	case Status:
		if m.Asked != (Asked{}) {
			return FromChild{}, fmt.Errorf("a status has no position")
		}
		return m, nil
	case Checkpoint:
		if m.ResponseFor != "" {
			return FromChild{}, fmt.Errorf("a checkpoint has no responseFor")
		}
		return m, nil
	}
	return FromChild{}, fmt.Errorf("action %.40q is none of a child", m.Action)
}

// scalar reads a string, a number or a boolean as text, or null. Jackson makes a string of all of
// them.
func (s *scanner) scalar() (*string, error) {
	start := s.at
	switch c := s.peek(); c {
	case '"', 'n':
		text, ok, err := s.text()
		if !ok || err != nil {
			return nil, err
		}
		copied := string(text)
		return &copied, nil
	case '{', '[':
		return nil, fmt.Errorf("value at byte %d is no text", start+1)
	case 't', 'f':
		start = s.at
		if err := s.skip(0); err != nil {
			return nil, err
		}
		copied := string(s.line[start:s.at])
		return &copied, nil
	}
	text, err := s.number()
	if err != nil {
		return nil, err
	}
	copied := string(text)
	return &copied, nil
}

// long reads a whole number, also one in quotation marks, or null.
func (s *scanner) long() (*int64, error) {
	text, err := s.scalar()
	if err != nil || text == nil || *text == "" {
		return nil, err
	}
	n, err := strconv.ParseInt(*text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%.40q is not a whole number of 64 bits", *text)
	}
	return &n, nil
}
