/** What nobody caught: one line, an orderly end, and exit code 1; a second fault ends the process at once. */
import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { FAULT_STOP_MS, Faults } from '../../../src/daemon/faults.js';
import { FakeClock } from '../../support/fake-clock.js';

function watched({ emit }: { emit?: () => void } = {}) {
  const clock = new FakeClock();
  const process = new EventEmitter();
  const lines: string[] = [];
  const done: string[] = [];
  const faults = new Faults({
    clock,
    process: process as unknown as NodeJS.Process,
    stopGraceMs: 2_000,
    telemetry: {
      emit: (event: string, fields: object) => {
        emit?.();
        const { err, doing } = fields as { err: unknown; doing: string };
        lines.push(`${event}: ${String(err)}, ${doing}`);
      },
      flush: () => done.push('flush'),
    } as never,
    stop: () => done.push('stop'),
    exit: (code) => done.push(`exit ${code}`),
  });
  return { clock, process, lines, done, faults };
}

it('the first fault is said in one line, and the daemon ends in order', () => {
  const { process, lines, done, faults } = watched();
  expect(faults.happened).toBe(false);
  process.emit('uncaughtException', new TypeError('a fault of ours'));
  expect(lines).toEqual([
    'error: TypeError: a fault of ours, running; this is a fault of the daemon itself, which ends with exit code 1',
  ]);
  expect(done).toEqual(['flush', 'stop']);
  expect(faults.happened).toBe(true);
});

it('a second fault ends the process at once', () => {
  const { process, lines, done } = watched();
  process.emit('uncaughtException', new Error('one'));
  process.emit('uncaughtException', new Error('two'));
  expect(lines).toHaveLength(2);
  expect(lines[1]).toContain('and the server runs on');
  expect(done.at(-1)).toBe('exit 1');
});

it('an end that hangs is cut short', async () => {
  const { clock, process, lines, done } = watched();
  process.emit('uncaughtException', new Error('one'));
  await clock.advance(FAULT_STOP_MS + 2_000);
  expect(lines[1]).toContain('the end took too long');
  expect(done.at(-1)).toBe('exit 1');
});

it('a log that fails too ends the process all the same', () => {
  const { process, done } = watched({
    emit: () => {
      throw new Error('no log');
    },
  });
  process.emit('uncaughtException', new Error('one'));
  expect(done).toEqual(['exit 1']);
});

it('nothing is left behind once the daemon has ended', () => {
  const { clock, process, faults } = watched();
  process.emit('uncaughtException', new Error('one'));
  faults.end();
  expect(clock.pending).toBe(0);
  expect(process.listenerCount('uncaughtException')).toBe(0);
});
