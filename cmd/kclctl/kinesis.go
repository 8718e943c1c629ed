package main

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/audit"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/streaminfo"
	"github.com/kinesis-go/kcl/leases"
)

// describe asks Kinesis for the ARN and the creation time of a stream.
func (s *source) describe(ctx context.Context, nameOrARN string) (streaminfo.Stream, error) {
	client, err := s.streamClient(ctx, nameOrARN)
	if err != nil {
		return streaminfo.Stream{}, err
	}
	return streaminfo.Describe(ctx, client, nameOrARN)
}

// ask lists the shards of a stream. Without a name it returns the zero value.
func (s *source) ask(ctx context.Context, nameOrARN string) (streaminfo.Stream, error) {
	if nameOrARN == "" {
		return streaminfo.Stream{}, nil
	}
	client, err := s.streamClient(ctx, nameOrARN)
	if err != nil {
		return streaminfo.Stream{}, err
	}
	return streaminfo.List(ctx, client, nameOrARN)
}

// streamClient returns a client for a stream, after it has checked the name.
func (s *source) streamClient(ctx context.Context, nameOrARN string) (*kinesis.Client, error) {
	if _, err := kcl.ParseStreamARN(nameOrARN); err != nil && !kcl.ValidStreamName(nameOrARN) {
		return nil, usagef("-stream %q is neither the name of a stream nor its ARN", nameOrARN)
	}
	return s.kinesis(ctx, nameOrARN)
}

// streamOf returns the stream of a lease: the one that the command line names, else the one that
// the lease names. Where there is none, reason says why.
func (s *source) streamOf(flagged string, l leases.Lease) (nameOrARN, reason string) {
	if flagged != "" {
		return flagged, ""
	}
	environment := os.Getenv("AWS_ENDPOINT_URL") + os.Getenv("AWS_ENDPOINT_URL_KINESIS")
	if s.endpoint != "" && s.kinesisEndpoint == "" && environment == "" {
		return "", "-endpoint is given, and -kinesis-endpoint is not"
	}
	if l.StreamARN != "" {
		return l.StreamARN, ""
	}
	if id, err := kcl.ParseStreamIdentifier(l.Stream); l.Stream != "" && err == nil {
		return id.Name, ""
	}
	return "", "the leases do not name their stream: give -stream"
}

// askAll asks Kinesis about the streams of all rows. The answers have Lease.Stream as keys. No
// answer is an error only for the stream that the command line names.
func (s *source) askAll(ctx context.Context, rows []leases.Lease, flagged string) (map[string]audit.Answer, error) {
	sample := map[string]leases.Lease{} // of each stream a row, with an ARN if there is one
	for _, l := range rows {
		if old, ok := sample[l.Stream]; !ok || old.StreamARN == "" {
			sample[l.Stream] = l
		}
	}
	if _, single := sample[""]; flagged != "" && len(rows) > 0 && !single {
		return nil, usagef("-stream is for a table of one stream: the keys of this table name the streams")
	}
	if len(rows) == 0 {
		sample[""] = leases.Lease{}
	}
	answers := map[string]audit.Answer{}
	for name, l := range sample {
		flaggedHere := flagged
		if name != "" {
			flaggedHere = ""
		}
		answer, err := s.askAbout(ctx, flaggedHere, l)
		if err != nil {
			return nil, err
		}
		answers[name] = answer
	}
	return answers, nil
}

func (s *source) askAbout(ctx context.Context, flagged string, l leases.Lease) (audit.Answer, error) {
	name, reason := s.streamOf(flagged, l)
	if name == "" {
		return audit.Answer{Silent: reason}, nil
	}
	known, err := s.ask(ctx, name)
	_, gone := errors.AsType[*types.ResourceNotFoundException](err)
	switch {
	case gone:
		return audit.Answer{Name: name, Gone: true}, nil
	case err != nil && flagged != "":
		return audit.Answer{}, err
	case err != nil:
		return audit.Answer{Name: name, Silent: err.Error()}, nil //nolint:nilerr // Silent holds the error
	}
	return audit.Answer{Name: name, Stream: known}, nil
}
