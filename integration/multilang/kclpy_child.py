"""A child on amazon_kclpy: kclpy_child.py v2 or v3, the version of the processor's class."""

import sys

from amazon_kclpy import kcl
from amazon_kclpy.v2 import processor as v2
from amazon_kclpy.v3 import processor as v3

from ledger import Ledger, position


class Shard:
    """What both classes do."""

    def __init__(self):
        self.ledger = Ledger()
        self.shard = ""
        self.last = (None, None)

    def initialize(self, given):
        self.shard = given.shard_id
        self.ledger.note("initialize", self.shard, str(given.sequence_number))

    def records(self, given):
        self.ledger.noise()
        for record in given.records:
            self.last = (record.sequence_number, record.sub_sequence_number)
            self.ledger.record(self.shard, *self.last, record.binary_data)

    def checkpoint(self, checkpointer, number):
        """Checkpoints at the last record, by its number or as all that was delivered."""
        try:
            checkpointer.checkpoint(*(self.last if number else (None, None)))
        except kcl.CheckpointError as error:
            self.ledger.note("refused", self.shard, "", error.value)
            return False
        if self.last[0] is not None:
            self.ledger.note("checkpoint", self.shard, position(*self.last))
        return True

    def end(self, checkpointer):
        if self.checkpoint(checkpointer, False):
            self.ledger.note("ended", self.shard)

    def request(self, checkpointer):
        self.ledger.note("requested", self.shard)
        self.checkpoint(checkpointer, False)

    def lose(self):
        self.ledger.note("lost", self.shard)


class V2(v2.RecordProcessorBase):
    def __init__(self):
        self._shard = Shard()

    def initialize(self, given):
        self._shard.initialize(given)

    def process_records(self, given):
        self._shard.records(given)
        if given.records:
            self._shard.checkpoint(given.checkpointer, True)

    def shutdown(self, given):
        if given.reason == "TERMINATE":
            self._shard.end(given.checkpointer)
        else:
            self._shard.lose()

    def shutdown_requested(self, given):
        self._shard.request(given.checkpointer)


class V3(v3.RecordProcessorBase):
    def __init__(self):
        self._shard = Shard()

    def initialize(self, given):
        self._shard.initialize(given)

    def process_records(self, given):
        self._shard.records(given)
        if given.records:
            self._shard.checkpoint(given.checkpointer, False)

    def lease_lost(self, given):
        self._shard.lose()

    def shard_ended(self, given):
        self._shard.end(given.checkpointer)

    def shutdown_requested(self, given):
        self._shard.request(given.checkpointer)


if __name__ == "__main__":
    kcl.KCLProcess({"v2": V2, "v3": V3}[sys.argv[1]]()).run()
