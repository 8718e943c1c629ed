package sim

import "time"

// workerFaults hit one worker.
var workerFaults = []kind{
	{name: "kill", rate: 0.05, step: func(w *World, d dice) { w.killOne(d) }},
	{name: "stop", rate: 0.05, step: func(w *World, d dice) { w.stopOne(d) }},
	{name: "start", rate: 0.1, step: func(w *World, d dice) { w.startOne() }},
	{name: "partition", rate: 0.03, step: func(w *World, d dice) {
		w.partition(d, d.roll("long").skewed(time.Second, 2*time.Minute))
	}},
	{name: "reset-connections", rate: 0.03, step: func(w *World, _ dice) { w.stream.srv.ResetConnections() }},
	{name: "goaway", rate: 0.03, step: func(w *World, _ dice) { w.stream.srv.GoAway() }},
	{name: "worker-loses-table", rate: 0.03, step: func(w *World, d dice) {
		w.loseTable(d, d.roll("long").skewed(time.Second, time.Minute))
	}},
	{name: "freeze", rate: 0.03, step: func(w *World, d dice) {
		w.freezeOne(d, time.Duration([]int{5, 15, 50, 600}[d.roll("long").n(4)])*time.Second)
	}},
	{name: "latency", rate: 0.05, step: func(w *World, d dice) {
		w.latency.Store(int64(d.roll("latency").skewed(time.Millisecond, 300*time.Millisecond)))
	}},
}

// worldFaults change the stream.
var worldFaults = []kind{
	{name: "split", rate: 0.1, step: func(w *World, d dice) { w.stream.split(d) }},
	{name: "merge", rate: 0.1, step: func(w *World, d dice) { w.stream.merge(d) }},
	{name: "double", rate: 0.01, step: func(w *World, _ dice) { w.stream.double() }},
	{name: "day-off", rate: 0.003, step: func(w *World, d dice) { w.dayOff(d) }},
	{name: "consumer-deleted", rate: 0.01, step: func(w *World, _ dice) { w.stream.deleteConsumer() }},
}

// processorFaults are asked for by the processors.
var processorFaults = []kind{
	{name: "processor-error", rate: 0.05},
	{name: "processor-panic", rate: 0.02},
	{name: "processor-goexit", rate: 0.01},
	{name: "processor-slow", rate: 0.03},
	{name: "processor-blocks", rate: 0.003},
	{name: "processor-restart", rate: 0.01},
	{name: "processor-wrong-checkpoint", rate: 0.02},
	{name: "processor-old-checkpoint", rate: 0.02},
	{name: "processor-forgets-checkpoint", rate: 0.3},
	{name: "processor-checkpoints-twice", rate: 0.1},
	{name: "processor-init-error", rate: 0.1},
	{name: "processor-end-error", rate: 0.3},
	{name: "processor-shutdown-slow", rate: 0.2},
	{name: "processor-ignores-cancel", rate: 0.02},
}
