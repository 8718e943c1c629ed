"""Runs the sample of amazon_kclpy as it is, and writes the ledger beside it: what the daemon sends
says which shard and data, what the sample logs says which records it has processed."""

import base64
import json
import re
import runpy
import sys

from ledger import Ledger, position

RECORD = re.compile(r"Record \(Partition Key: .*, Sequence Number: (\d+), Subsequence Number: (\d+), Data Size: (\d+)")


class Input:
    """Standard input for the sample. It notes what the daemon says."""

    def __init__(self, source, ledger):
        self.source, self.ledger = source, ledger
        self.shard, self.data, self.last = "", {}, ""
        self.ending = False

    def readline(self):
        line = self.source.readline()
        message = json.loads(line) if line.strip() else {}
        action = message.get("action")
        if action == "initialize":
            self.shard = message["shardId"]
            self.ledger.note("initialize", self.shard, str(message["sequenceNumber"]))
        elif action == "processRecords":
            self.data = {
                position(r["sequenceNumber"], r["subSequenceNumber"]): base64.b64decode(r["data"])
                for r in message["records"]
            }
        elif action == "checkpoint" and message["error"] is None:
            if self.last:
                self.ledger.note("checkpoint", self.shard, self.last)
            if self.ending:
                self.ledger.note("ended", self.shard)
        elif action in ("leaseLost", "shutdownRequested"):
            self.ledger.note({"leaseLost": "lost", "shutdownRequested": "requested"}[action], self.shard)
        self.ending = self.ending or action == "shardEnded"
        return line


class Errors:
    """Standard error for the sample. It notes the records that the sample logs."""

    def __init__(self, target, given):
        self.target, self.given = target, given

    def write(self, text):
        found = RECORD.match(text)
        if found:
            self.given.last = position(found[1], int(found[2]))
            data = self.given.data[self.given.last]
            if len(data) != int(found[3]):
                raise ValueError("the sample saw %s bytes of %d" % (found[3], len(data)))
            self.given.ledger.record(self.given.shard, found[1], int(found[2]), data)
        self.target.write(text)

    def flush(self):
        self.target.flush()


if __name__ == "__main__":
    sys.stdin = Input(sys.stdin, Ledger())
    sys.stderr = Errors(sys.stderr, sys.stdin)
    runpy.run_path(sys.argv[1], run_name="__main__")
