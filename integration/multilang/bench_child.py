"""The child of multilangbench, on amazon_kclpy: it counts records and checkpoints every five seconds."""

import os
import time

from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor


class Counter(processor.RecordProcessorBase):
    def __init__(self):
        path = os.path.join(os.environ["LEDGER"], "%d-%d" % (os.getpid(), time.time_ns()))
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._checkpointed = time.monotonic()

    def initialize(self, given):
        pass

    def process_records(self, given):
        os.write(self._file, b"%d %d\n" % (time.time_ns() // 1000, len(given.records)))
        if given.records and time.monotonic() - self._checkpointed > 5:
            self._checkpointed = time.monotonic()
            self._checkpoint(given.checkpointer)

    def lease_lost(self, given):
        pass

    def shard_ended(self, given):
        given.checkpointer.checkpoint()

    def shutdown_requested(self, given):
        self._checkpoint(given.checkpointer)

    def _checkpoint(self, checkpointer):
        try:
            checkpointer.checkpoint()
        except kcl.CheckpointError:
            pass  # the records come again


if __name__ == "__main__":
    kcl.KCLProcess(Counter()).run()
