import { describe, expect, it } from 'vitest';
import type { Clock } from '../../../src/lib/clock.js';
import { FileDescriptorSink } from '../../../src/telemetry/sink.js';
import { stillClock } from './fixtures.js';

/** A reader that takes `room` bytes, and a clock whose timers run when told. */
function setUp() {
  const reader = {
    room: Number.POSITIVE_INFINITY,
    failure: undefined as string | undefined,
    got: '',
  };
  const timers: (() => void)[] = [];
  const dropped: number[] = [];
  const clock: Clock = {
    ...stillClock,
    after: (_ms, fn) => {
      timers.push(fn);
      return { cancel: () => timers.splice(timers.indexOf(fn) >>> 0, 1) };
    },
  };
  const write = (_fd: number, bytes: Uint8Array) => {
    const code = reader.failure ?? (reader.room <= 0 ? 'EAGAIN' : undefined);
    if (code !== undefined) throw Object.assign(new Error(code), { code });
    const taken = bytes.subarray(0, reader.room);
    reader.room -= taken.length;
    reader.got += Buffer.from(taken).toString();
    return taken.length;
  };
  const sink = new FileDescriptorSink(1, clock, (lines) => dropped.push(lines), write);
  return {
    sink,
    reader,
    timers,
    dropped,
    runTimers: () => {
      for (const fn of timers.splice(0)) fn();
    },
  };
}

describe('the sink', () => {
  it('writes at once', () => {
    const { sink, reader } = setUp();
    sink.write('a\n');
    expect(reader.got).toBe('a\n');
  });

  it('keeps lines whole and in order for a reader that is slow for a while', () => {
    const { sink, reader, runTimers } = setUp();
    reader.room = 3;
    sink.write('first\n');
    sink.write('second\n');
    expect(reader.got).toBe('fir');
    runTimers();
    reader.room = 1_000;
    runTimers();
    expect(reader.got).toBe('first\nsecond\n');
  });

  it('drops whole lines when the reader is too far behind, and says how many', () => {
    const { sink, reader, dropped, runTimers } = setUp();
    reader.room = 0;
    const line = `${'x'.repeat(1_023)}\n`;
    for (let i = 0; i < 2_000; i++) sink.write(line);
    reader.room = Number.POSITIVE_INFINITY;
    runTimers();
    expect(dropped).toEqual([2_000 - 1_025]);
    expect(reader.got).toBe(line.repeat(1_025));
  });

  it('writes no more when the reader went away', () => {
    const { sink, reader, timers } = setUp();
    reader.failure = 'EPIPE';
    expect(() => sink.write('a\n')).not.toThrow();
    reader.failure = undefined;
    sink.write('b\n');
    expect(reader.got).toBe('');
    expect(timers).toEqual([]);
  });

  it.each(['ENOSPC', 'EDQUOT', 'EFBIG'])(
    'keeps its lines until a full disk has room again (%s)',
    (code) => {
      const { sink, reader, dropped, runTimers } = setUp();
      reader.failure = code;
      sink.write('first\n');
      sink.write('second\n');
      runTimers();
      reader.failure = undefined;
      runTimers();
      sink.write('third\n');
      expect(reader.got).toBe('first\nsecond\nthird\n');
      expect(dropped).toEqual([]);
    },
  );

  it('cuts no line in two where the disk fills up in the middle of it', () => {
    const { sink, reader, runTimers } = setUp();
    reader.room = 3;
    sink.write('first\n');
    reader.failure = 'ENOSPC';
    runTimers();
    sink.write('second\n');
    reader.failure = undefined;
    reader.room = 1_000;
    runTimers();
    expect(reader.got).toBe('first\nsecond\n');
  });

  it('bounds what it keeps for a full disk, and says how many lines that cost', () => {
    const { sink, reader, dropped, runTimers } = setUp();
    reader.failure = 'ENOSPC';
    const line = `${'x'.repeat(1_023)}\n`;
    for (let i = 0; i < 2_000; i++) sink.write(line);
    reader.failure = undefined;
    runTimers();
    expect(dropped).toEqual([2_000 - 1_025]);
    expect(reader.got).toBe(line.repeat(1_025));
  });

  it('gives up flushing to a reader that takes nothing', () => {
    const { sink, reader } = setUp();
    reader.room = 0;
    sink.write('a\n');
    sink.flush();
    reader.room = 10;
    sink.flush();
    expect(reader.got).toBe('a\n');
  });
});
