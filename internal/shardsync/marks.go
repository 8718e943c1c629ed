package shardsync

import (
	"fmt"
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// Marks say which application and stream a lease belongs to. Every lease that this library makes or
// takes carries them. So a table of another application or stream is refused before anything is
// written to it. The Java KCL leaves these attributes alone. An empty field is not known, and
// matches every value.
type Marks struct {
	// Application is the name of the application (Config.Application of the scheduler).
	Application string
	// Stream is that of [leases.Lease]: account:stream:epoch in an application with several streams,
	// and empty otherwise.
	Stream string
	// StreamARN is that of [leases.Extension]: the ARN of the stream. In an application with several
	// streams it ends with the region.
	StreamARN string
}

// MarksOf returns the marks of a stream's leases. multi says that the application reads several
// streams.
func MarksOf(application string, stream kcl.StreamIdentifier, multi bool) Marks {
	m := Marks{Application: application, StreamARN: stream.ARN}
	if multi {
		m.Stream, m.StreamARN = stream.String(), regionOf(stream.ARN)
	}
	return m
}

// regionOf returns arn:PARTITION:kinesis:REGION of the ARN of a stream.
func regionOf(arn string) string {
	parts := strings.SplitN(arn, ":", 5)
	return strings.Join(parts[:min(len(parts), 4)], ":")
}

// Complete returns l with the marks that it lacks, and the attributes of these marks. A mark that l
// has is kept, even a foreign one.
func (m Marks) Complete(l leases.Lease) (leases.Lease, leases.Attr) {
	var set leases.Attr
	if l.Application == "" && m.Application != "" {
		l.Application, set = m.Application, set|leases.AttrApplication
	}
	if l.StreamARN == "" && m.StreamARN != "" {
		l.StreamARN, set = m.StreamARN, set|leases.AttrStreamARN
	}
	return l, set
}

// Check returns an error that wraps [leases.ErrForeignTable] when l is marked with another
// application. It does the same when the key of l names this stream and its mark names another one.
// The error names both. Leases of other streams of the application are fine.
func (m Marks) Check(l leases.Lease) error {
	switch {
	case l.Application != "" && m.Application != "" && l.Application != m.Application:
		return fmt.Errorf("%w: lease %q belongs to application %s, and this is application %s: "+
			"give each application a lease table of its own (Config.Table); "+
			"when the application has a new name, "+
			"stop all of its workers and run `kclctl leases adopt -application %s -table TABLE`",
			leases.ErrForeignTable, l.Key, l.Application, m.Application, m.Application)
	case l.Stream == m.Stream && l.StreamARN != "" && m.StreamARN != "" && l.StreamARN != m.StreamARN:
		return fmt.Errorf("%w: lease %q belongs to stream %s, and this worker of application %s reads %s: "+
			"give each of them a lease table of its own (Config.Table); "+
			"when it is the same stream with the same records, "+
			"stop all workers and run `kclctl leases adopt -application %s -stream ARN -table TABLE`",
			leases.ErrForeignTable, l.Key, l.StreamARN, m.Application, m.StreamARN, m.Application)
	}
	return nil
}
