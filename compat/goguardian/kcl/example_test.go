package kcl_test

import (
	"log"
	"os"

	"github.com/kinesis-go/kcl/compat/goguardian/kcl"
)

// printer is a processor as users of goguardian-go-kcl have it.
type printer struct{ logger *log.Logger }

func (p *printer) Initialize(in *kcl.InitializationInput) { p.logger.Println("reading", in.ShardID) }

func (p *printer) ProcessRecords(in *kcl.ProcessRecordsInput) {
	for _, record := range in.Records {
		p.logger.Printf("%s", record.Data)
	}
	if err := in.Checkpoint(nil); err != nil {
		p.logger.Println(err)
	}
}

func (p *printer) LeaseLost(*kcl.LeaseLostInput) {}

func (p *printer) ShardEnded(in *kcl.ShardEndedInput) {
	if err := in.Checkpoint(nil); err != nil {
		p.logger.Println(err)
	}
}

func (p *printer) ShutdownRequested(in *kcl.ShutdownRequestedInput) {
	if err := in.Checkpoint(nil); err != nil {
		p.logger.Println(err)
	}
}

// The program is the one of goguardian-go-kcl, with another import path.
func ExampleGetKCLProcess() {
	logger := log.New(os.Stderr, "", log.LstdFlags)
	process := kcl.GetKCLProcess(&printer{logger}, kcl.WithLogger(logger))
	if err := process.Run(); err != nil {
		logger.Println(err)
		os.Exit(1)
	}
}
