"""The lines that every client of the MultiLang tests writes: see journal_test.go."""

import hashlib
import os
import sys
import time


class Ledger:
    """A file of this process. Each line is one write, so that a killed process leaves whole lines."""

    def __init__(self):
        path = os.path.join(os.environ["LEDGER"], "%d-%d" % (os.getpid(), time.time_ns()))
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._batches = 0

    def note(self, event, shard, sequence="", data=""):
        line = "%d\t%s\t%s\t%s\t%s\n" % (time.time_ns() // 1000, event, shard, sequence, data)
        os.write(self._file, line.encode())

    def record(self, shard, sequence, sub, data):
        """Notes a record: its data begins with a key and a number."""
        key, number = data.split(b" ", 2)[:2]
        text = "%s %s %s" % (key.decode(), number.decode(), hashlib.md5(data).hexdigest())
        self.note("record", shard, position(sequence, sub), text)

    def noise(self):
        """Prints what the daemon must skip: no JSON, JSON of another kind, and at times 1 MiB."""
        sys.stdout.write("noise\n\n[1]\n{\"action\": \"dance\"}\n")
        if self._batches % 16 == 0:
            sys.stdout.write("x" * (1 << 20) + "\n")
        sys.stdout.write("no end of the line")
        self._batches += 1


def position(sequence, sub):
    """One number for both: a record's number in the shard, then its number in its aggregate."""
    return "%s%04d" % (sequence, sub or 0)
