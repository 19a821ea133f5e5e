import { execFileSync } from 'node:child_process';
import fs, { constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Clock } from '../../../src/lib/clock.js';
import { createSink, withoutBlocking } from '../../../src/telemetry/sink.js';
import { stillClock } from './fixtures.js';

/** No descriptor of the process: only the reader below is written to. */
const FD = 12_345;

afterEach(() => {
  vi.restoreAllMocks();
});

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
  vi.spyOn(fs, 'writeSync').mockImplementation((_fd, text) => {
    const bytes = Buffer.from(text as string);
    const code = reader.failure ?? (reader.room <= 0 ? 'EAGAIN' : undefined);
    if (code !== undefined) throw Object.assign(new Error(code), { code });
    const taken = bytes.subarray(0, reader.room);
    reader.room -= taken.length;
    reader.got += taken.toString();
    return taken.length;
  });
  const sink = createSink(FD, clock, (lines) => dropped.push(lines));
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
    expect(dropped).toEqual([2_000 - 1_024]);
    expect(reader.got).toBe(line.repeat(1_024));
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
    expect(dropped).toEqual([2_000 - 1_024]);
    expect(reader.got).toBe(line.repeat(1_024));
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

describe('withoutBlocking', () => {
  it('never waits for the reader of a pipe, and leaves the descriptor itself as it was', (context) => {
    if (process.platform !== 'linux') context.skip('needs /proc');
    const dir = mkdtempSync(join(tmpdir(), 'watchdog-sink-'));
    const path = join(dir, 'pipe');
    execFileSync('mkfifo', [path]);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const inherited = openSync(path, constants.O_WRONLY);
    const own = withoutBlocking(inherited);
    try {
      expect(isNonBlocking(own)).toBe(true);
      expect(isNonBlocking(inherited)).toBe(false);
      const sink = createSink(own, stillClock, () => {});
      const line = `${'x'.repeat(1_023)}\n`;
      for (let i = 0; i < 200; i++) sink.write(line);
      let read = 0;
      const bytes = Buffer.alloc(1024 * 1024);
      while (read < 200 * 1_024) {
        read += readSync(reader, bytes, read, bytes.length - read, null);
        sink.flush();
      }
      expect(bytes.toString('utf8', 0, read)).toBe(line.repeat(200));
    } finally {
      for (const fd of new Set([reader, inherited, own])) fs.closeSync(fd);
      rmSync(dir, { recursive: true });
    }
  });

  it('gives a file as it is: a descriptor of its own would write elsewhere in it', () => {
    const fd = openSync('/dev/null', 'w');
    expect(withoutBlocking(fd)).toBe(fd);
    fs.closeSync(fd);
  });
});

/** proc(5), /proc/pid/fdinfo: `flags` is octal. */
function isNonBlocking(fd: number): boolean {
  const [, flags = ''] =
    /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? [];
  return (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0;
}
