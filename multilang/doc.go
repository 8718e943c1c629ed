// Package multilang is both ends of the MultiLangDaemon's protocol (package
// software.amazon.kinesis.multilang in the KCL). A daemon reads the shards of a stream. It starts
// one child process for each shard, and the child processes the records. Both talk in lines of JSON
// over the standard input and output of the child.
//
// [Command] is the daemon's end: a [kcl.ProcessorFactory] whose processors are child processes.
// [Serve] is the child: it runs any [kcl.Processor] under the Java MultiLangDaemon of KCL 1.x to
// 3.x, or under cmd/multilangd. A program that uses it links no AWS code.
package multilang
