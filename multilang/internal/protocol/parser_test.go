package protocol_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

func TestParseFromChild(t *testing.T) {
	t.Parallel()
	number, digits, sub := "12", "49680463875391921675483287125358763272667478700406603794", int64(3)
	for line, want := range map[string]protocol.FromChild{
		`{"action":"status","responseFor":"initialize"}`:          {Action: "status", ResponseFor: "initialize"},
		` { "responseFor" : "x" , "action" : "status" } `:         {Action: "status", ResponseFor: "x"},
		`{"action":"status"}`:                                     {Action: "status"},
		`{"action":"status","responseFor":null}`:                  {Action: "status"},
		`{"action":"status","responseFor":"shardEnded"} and more`: {Action: "status", ResponseFor: "shardEnded"},
		`{"action":"\u0073tatus","responseFor":"a\/b"}`:           {Action: "status", ResponseFor: "a/b"},
		`{"action":"checkpoint"}`:                                 {Action: "checkpoint"},
		`{"action":"checkpoint","sequenceNumber":null}`:           {Action: "checkpoint"},
		`{"action":"checkpoint","sequenceNumber":"12","error":null}`: {
			Action: "checkpoint", Asked: protocol.Asked{SequenceNumber: &number},
		},
		`{"action":"checkpoint","sequenceNumber":` + digits + `}`: {
			Action: "checkpoint", Asked: protocol.Asked{SequenceNumber: &digits},
		},
		`{"action":"checkpoint","subSequenceNumber":3}`: {
			Action: "checkpoint", Asked: protocol.Asked{SubSequenceNumber: &sub},
		},
		`{"action":"checkpoint","sequenceNumber":"12","subSequenceNumber":"3"}`: {Action: "checkpoint", Asked: protocol.Asked{
			SequenceNumber: &number, SubSequenceNumber: &sub,
		}},
	} {
		got, err := protocol.ParseFromChild([]byte(line))
		require.NoError(t, err, line)
		require.Equal(t, want, got, line)
	}
}

func TestLinesThatAreNoMessage(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":            "not JSON at byte 1",
		"hello":       "not JSON at byte 1",
		"null":        "not JSON at byte 1",
		"12":          "not JSON at byte 1",
		`["status"]`:  "not JSON at byte 1",
		`{}`:          `action "" is none of a child`,
		`{"action":`:  "not JSON at byte 11",
		`{"action":"`: "not JSON at byte 12",
		`{"action":"status","responseFor":"initialize"`:   "not JSON at byte 46",
		`{"action":"status","responseFor":"initialize",}`: "not JSON at byte 47",
		`{'action':'status'}`:                             "not JSON at byte 2",
		`{"action":"status","responseFor":"a\x"}`:         "not JSON at byte 36",
		`{"action":"status","responseFor":{"a":1}}`:       "value at byte 34 is no text",
		`{"action":"status","responseFor":"a","time":1}`:  `field "time" is unknown`,
		`{"Action":"status","responseFor":"a"}`:           `field "Action" is unknown`,
		`{"action":"status","sequenceNumber":"1"}`:        "a status has no position",
		`{"action":"checkpoint","responseFor":"a"}`:       "a checkpoint has no responseFor",
		`{"action":"checkpoint","subSequenceNumber":1.5}`: `"1.5" is not a whole number of 64 bits`,
		`{"action":"initialize"}`:                         `action "initialize" is none of a child`,
		`{"level":"info","msg":"user code logs JSON"}`:    `field "level" is unknown`,
	} {
		_, err := protocol.ParseFromChild([]byte(line))
		require.EqualError(t, err, want, line)
	}
}

// TestPositions: a number alone means sub-sequence number 0, as in the Java daemon.
func TestPositions(t *testing.T) {
	t.Parallel()
	number, sub := "12", int64(3)
	position, all := protocol.Asked{SequenceNumber: &number}.Position()
	require.False(t, all)
	require.Equal(t, kcl.ExtendedSequenceNumber{SequenceNumber: "12"}, position)
	position, all = protocol.Asked{SequenceNumber: &number, SubSequenceNumber: &sub}.Position()
	require.False(t, all)
	require.Equal(t, kcl.ExtendedSequenceNumber{SequenceNumber: "12", SubSequenceNumber: 3}, position)
	_, all = protocol.Asked{SubSequenceNumber: &sub}.Position()
	require.True(t, all)
}

func TestParseFromDaemon(t *testing.T) {
	t.Parallel()
	key, empty := "k", ""
	for line, want := range map[string]protocol.FromDaemon{
		`{"action":"initialize","shardId":"shardId-7","sequenceNumber":"12","subSequenceNumber":3}`: {
			Action: "initialize", ShardID: "shardId-7",
			Position: kcl.ExtendedSequenceNumber{SequenceNumber: "12", SubSequenceNumber: 3},
		},
		`{"action":"initialize","shardId":"s","sequenceNumber":null,"subSequenceNumber":null}`: {
			Action: "initialize", ShardID: "s",
		},
		`{"action":"initialize","shardId":"s"}`:                 {Action: "initialize", ShardID: "s"},
		`{"action":"processRecords","records":null}`:            {Action: "processRecords"},
		`{"action":"processRecords","records":[]}`:              {Action: "processRecords"},
		`{"action":"shutdown","reason":"ZOMBIE"}`:               {Action: "shutdown", Reason: "ZOMBIE"},
		`{"action":"checkpoint","checkpoint":"1","error":null}`: {Action: "checkpoint"},
		`{"action":"checkpoint","error":"ShutdownException"}`:   {Action: "checkpoint", Error: "ShutdownException"},
		`{"action":"leaseLost","epoch":{"a":[1,-2.5e+3,true]},"b":{}}`: {
			Action: "leaseLost", Unknown: []string{"epoch", "b"},
		},
		`{"action":"rebalance","shardId":5,"records":"x"}`: {Action: "rebalance"},
		`{"action":"processRecords","millisBehindLatest":1500,"records":[` +
			`{"data":"YQ==","partitionKey":"k","sequenceNumber":"1","x":1},` +
			`{"data":null,"partitionKey":null,"sequenceNumber":"2","subSequenceNumber":null,"x":1},` +
			`{"data":"","partitionKey":"","sequenceNumber":"3","subSequenceNumber":9,"approximateArrivalTimestamp":5}]}`: {
			Action: "processRecords", Behind: 1500 * time.Millisecond, BehindKnown: true, Unknown: []string{"x"},
			Records: []kcl.Record{
				kcl.NewRecord(kcl.RecordFields{Data: []byte("a"), PartitionKey: &key, SequenceNumber: "1"}),
				kcl.NewRecord(kcl.RecordFields{Data: []byte{}, SequenceNumber: "2"}),
				kcl.NewRecord(kcl.RecordFields{
					Data: []byte{}, PartitionKey: &empty, SequenceNumber: "3", SubSequenceNumber: 9,
					ApproximateArrival: time.UnixMilli(5),
				}),
			},
		},
	} {
		got, err := protocol.ParseFromDaemon([]byte(line))
		require.NoError(t, err, line)
		require.Equal(t, want, got, line)
	}
}

func TestDaemonLinesThatAreWrong(t *testing.T) {
	t.Parallel()
	record := func(fields string) string { return `{"action":"processRecords","records":[{` + fields + `}]}` }
	for line, want := range map[string]string{
		"Exception in thread main":            "not JSON at byte 1",
		`{"shardId":"s"}`:                     "a message has no action",
		`{"action":"leaseLost"} x`:            "not JSON at byte 24",
		`{"action":"initialize"}`:             "initialize has no shardId",
		`{"action":"initialize","shardId":7}`: "not JSON at byte 34",
		`{"action":"initialize","shardId":"s","sequenceNumber":"1x"}`: "read the position of initialize: " +
			`kcl: invalid sequence number: "1x"; want decimal digits or TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END`,
		`{"action":"processRecords","millisBehindLatest":1.5}`: `field "millisBehindLatest": ` +
			`"1.5" is not a whole number of 64 bits`,
		record(`"data":"YQ==","partitionKey":"k"`): `field "records": record 1 has no sequenceNumber`,
		record(`"data":"YQ=","sequenceNumber":"1"`): "decode the data of record 1: " +
			"illegal base64 data at input byte 3",
		record(`"data":"YQ==","sequenceNumber":"LATEST"`): `record 1 has the sequence number "LATEST" ` +
			`and the sub-sequence number 0`,
		record(`"sequenceNumber":"1","subSequenceNumber":-1`): `record 1 has the sequence number "1" ` +
			`and the sub-sequence number -1`,
		`{"action":"x","y":` + strings.Repeat("[", 1100): "values are nested more than 1000 deep",
	} {
		_, err := protocol.ParseFromDaemon([]byte(line))
		require.EqualError(t, err, want, line)
	}
}

// FuzzParseFromDaemon compares the parser with encoding/json, and writes what it has read again.
func FuzzParseFromDaemon(f *testing.F) {
	for _, line := range recorded(f, "to-child") {
		f.Add([]byte(line))
	}
	f.Add([]byte(`{"action":"initialize","shardId":"a\ud83d\ude00\ud83dx\"\/","sequenceNumber":"1"}`))
	f.Add([]byte(`{"action":"processRecords","records":[{"data":"YQ==","sequenceNumber":"1","x":[[{}]]}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		valid := json.Valid(line)
		var names struct {
			Action  string `json:"action"`
			ShardID string `json:"shardId"`
			Error   string `json:"error"`
		}
		decoded := json.Unmarshal(line, &names) == nil
		m, err := protocol.ParseFromDaemon(append([]byte(nil), line...))
		if err != nil {
			return
		}
		require.NotEmpty(t, m.Action)
		if valid && decoded && m.Known() && !ambiguous(line) {
			require.Equal(t, names.Action, string(m.Action))
			require.Equal(t, names.ShardID, m.ShardID)
			require.Equal(t, names.Error, m.Error)
		}
		if m.Action != protocol.ProcessRecords {
			return
		}
		again, err := protocol.ParseFromDaemon(encode(t, m.Records))
		require.NoError(t, err)
		require.Len(t, again.Records, len(m.Records))
		for i, r := range m.Records {
			require.Equal(t, r.Data(), again.Records[i].Data())
			require.Equal(t, r.Position(), again.Records[i].Position())
			key, ok := r.PartitionKey()
			got, gotOK := again.Records[i].PartitionKey()
			require.Equal(t, ok, gotOK)
			require.Equal(t, string([]rune(key)), got)
		}
	})
}

// ambiguous tells whether encoding/json may read other fields than we do: it ignores the case of
// names, replaces what is no UTF-8, and keeps the value before a null.
func ambiguous(line []byte) bool {
	text := string(line)
	lower := strings.ToLower(text)
	for _, name := range []string{"action", "shardid", "error"} {
		if strings.Count(lower, name) != strings.Count(text, `"`+map[string]string{"shardid": "shardId"}[name]+`"`)+
			strings.Count(text, `"`+name+`"`) {
			return true
		}
	}
	return strings.ToValidUTF8(text, "") != text || strings.Contains(text, `\u`) || strings.Contains(text, "ſ") ||
		strings.Count(text, `"error"`) > 1 || strings.Count(text, `"action"`) > 1 || strings.Count(text, `"shardId"`) > 1
}

// FuzzParseFromChild compares the parser with encoding/json.
func FuzzParseFromChild(f *testing.F) {
	for _, line := range recorded(f, "from-child") {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := protocol.ParseFromChild(append([]byte(nil), line...))
		if err != nil {
			require.Equal(t, protocol.FromChild{}, m)
			return
		}
		require.Contains(t, []protocol.Action{protocol.Status, protocol.Checkpoint}, m.Action)
		var first map[string]any
		text := string(line)
		if json.NewDecoder(strings.NewReader(text)).Decode(&first) == nil && !strings.Contains(text, `\u`) {
			require.Equal(t, first["action"], string(m.Action))
			if text, ok := first["responseFor"].(string); ok {
				require.Equal(t, text, string([]rune(string(m.ResponseFor))))
			}
		}
	})
}
