package scheduler

import "encoding/json"

// MarshalJSON writes errors as their texts, and omits nil errors.
func (s StreamStatus) MarshalJSON() ([]byte, error) {
	type plain StreamStatus
	return json.Marshal(struct {
		plain
		Err string `json:",omitempty"`
	}{plain(s), text(s.Err)})
}

// MarshalJSON writes errors as their texts, and omits nil errors. It writes the lag as
// MillisBehindLatest, as in the service's API, or null if the lag is not known.
func (s ShardStatus) MarshalJSON() ([]byte, error) {
	type plain ShardStatus
	out := struct {
		plain
		ModeErr            string `json:",omitempty"`
		MillisBehindLatest *int64
		Err                string `json:",omitempty"`
	}{plain: plain(s), ModeErr: text(s.ModeErr), Err: text(s.Err)}
	if behind, known := s.Behind(); known {
		millis := behind.Milliseconds()
		out.MillisBehindLatest = &millis
	}
	return json.Marshal(out)
}

// MarshalJSON writes the error as its text.
func (e *StallError) MarshalJSON() ([]byte, error) {
	type plain StallError
	return json.Marshal(struct {
		plain
		Err string `json:",omitempty"`
	}{plain(*e), text(e.Err)})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
