// A child on aws-kcl, built like its sample: it checkpoints by the number of the last record, and has
// one callback for the end of a shard and for a lost lease.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const kcl = require('aws-kcl');

const file = fs.openSync(path.join(process.env.LEDGER, `${process.pid}-${Date.now()}`), 'a');

function note(event, shard, sequence = '', data = '') {
  const micros = Math.round((performance.timeOrigin + performance.now()) * 1000);
  fs.writeSync(file, `${micros}\t${event}\t${shard}\t${sequence}\t${data}\n`);
}

const position = (sequence, sub) => sequence + String(sub || 0).padStart(4, '0');

let shard = '';
let last = '';
let batches = 0;

function record(r) {
  const data = Buffer.from(r.data, 'base64');
  const [key, number] = data.subarray(0, 64).toString('latin1').split(' ');
  last = position(r.sequenceNumber, r.subSequenceNumber);
  note('record', shard, last, `${key} ${number} ${crypto.createHash('md5').update(data).digest('hex')}`);
}

// The package takes a full buffer of standard output for a broken one, and ends. So what a program
// prints must have left before the package writes.
function noise(then) {
  const long = batches % 16 === 0 ? 'x'.repeat(1 << 20) + '\n' : '';
  batches++;
  process.stdout.write('noise\n\n[1]\n{"action": "dance"}\n' + long, () => setImmediate(then));
}

// The callback of a checkpoint: at is the position that it covers.
function checkpointed(at, done) {
  return (error) => {
    if (error) note('refused', shard, '', error);
    else if (at) note('checkpoint', shard, at);
    done(error);
  };
}

kcl({
  initialize(input, done) {
    shard = input.shardId;
    note('initialize', shard, String(input.sequenceNumber));
    done();
  },
  processRecords(input, done) {
    noise(() => {
      input.records.forEach(record);
      const final = input.records[input.records.length - 1];
      if (!final) return done();
      // Without the number inside an aggregate: a checkpoint at the first of its records.
      const at = position(final.sequenceNumber, 0);
      input.checkpointer.checkpoint(final.sequenceNumber, checkpointed(at, () => done()));
    });
  },
  shutdownRequested(input, done) {
    note('requested', shard);
    input.checkpointer.checkpoint(checkpointed(last, () => done()));
  },
  shutdown(input, done) {
    if (input.reason !== 'TERMINATE') {
      note('lost', shard);
      return done();
    }
    input.checkpointer.checkpoint(checkpointed(last, (error) => {
      if (!error) note('ended', shard);
      done();
    }));
  },
}).run();
