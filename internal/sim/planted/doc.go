// Package planted tests the tests. The folder bugs has mistakes that an engineer could make in this
// library, one file each. The command run plants them, and tells for each whether the simulation
// finds it. If the simulation misses a bug, the command runs the ordinary tests of the bug's
// package, and then those of the coordinator and the scheduler. The library's files stay as they
// are: the command gives the changed files to the go command with -overlay. One build has all bugs,
// see [Plant].
//
//	go run ./internal/sim/planted/run            all bugs
//	go run ./internal/sim/planted/run -run lease those with "lease" in their names
//
// A bug is a text: its description, and then edits. The lines of an edit begin with a space, a
// minus or a plus, as in a patch, and have no numbers. The lines with a space or a minus must occur
// in the file exactly once, in the body of one function. So a change of the library cannot disarm a
// bug without notice.
//
//	The renewal waits for the running batch.
//
//	--- internal/holder/holder.go
//	 	for {
//	-		old line
//	+		new line
package planted
