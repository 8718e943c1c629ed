// Package fleettest is the rig of tests in which several workers share one lease table, within one
// synctest bubble. Each worker is a coordinator. The rig has no Kinesis: its shards have endless
// records, and its consumers check the rules that no worker may break.
//
// A [Fleet] has its table in memory. A [KCL3Fleet] is a Fleet with a table of DynamoDB, over the
// network and the SDK, and with workers of the Java KCL.
//
// Two rigs stay apart. The tests of package scheduler run whole schedulers with real processors
// against a fake Kinesis, and audit every record. The demo in examples/quickstart shows users what
// they can write, with public packages alone. Both share the fake stores with this rig, and
// leases/leasefault.
package fleettest
