import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SpawnControl } from '../../src/process/control/spawn.js';
import { isAlive } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { Habitat } from '../unit/process/support.js';

let habitat: Habitat;
beforeEach(async () => {
  habitat = await Habitat.make();
});
afterEach(() => habitat.clear());

/** A server with a tool, of which only the tool is left, as after an out-of-memory kill. */
async function killedServer(fake: string) {
  const options = habitat.options({ fake });
  const control = new SpawnControl(options);
  const { pid } = await control.start(habitat.signal);
  const tool = (await habitat.ask()).tool!;
  process.kill(pid!, 'SIGKILL');
  await waitFor(() => habitat.exits.length === 1, { what: 'its end to be told' });
  expect(isAlive(tool)).toBe(true);
  return { control, tool, options };
}

test('a tool that outlived its killed server is ended before the next one starts', async () => {
  const { control, tool } = await killedServer('tool');
  await control.restart(habitat.signal);
  expect(isAlive(tool)).toBe(false);
  expect(habitat.notices.join('\n')).toContain('left running: 1 processes');
  expect(habitat.processes()).toHaveLength(2);
  await control.dispose('stop');
  expect(habitat.processes()).toEqual([]);
});

test('also where the daemon died with the server, and the next daemon starts the next server', async () => {
  const { tool, options } = await killedServer('tool-ignore-term');
  const next = new SpawnControl(options);
  await next.start(habitat.signal);
  expect(isAlive(tool)).toBe(false);
  await next.dispose('stop');
});

test('also where the daemon is told to stop, and no server follows', async () => {
  const { control } = await killedServer('tool');
  await control.dispose('stop');
  expect(habitat.processes()).toEqual([]);
});

test('what a tool has put into the background lives on', async () => {
  const { control, tool } = await killedServer('background');
  await control.restart(habitat.signal);
  expect(isAlive(tool)).toBe(true);
  await control.dispose('stop');
});

/** Two processes of a pipeline that outlived their server: the writer and its reader. */
async function pipelineOfKilled(fake: string) {
  const control = new SpawnControl(habitat.options({ fake }));
  const { pid } = await control.start(habitat.signal);
  process.kill(pid!, 'SIGKILL');
  await waitFor(() => habitat.exits.length === 1, { what: 'its end to be told' });
  const left = await waitFor(
    () => {
      const pids = habitat.processes();
      return pids.length === 2 ? pids : undefined;
    },
    { what: 'the pipeline' },
  );
  return { control, left };
}

test.each(['pipeline', 'piped'])(
  'what runs in the background lives on where a living process reads it: %s',
  async (fake) => {
    const { control, left } = await pipelineOfKilled(fake);
    await control.dispose('stop');
    expect(left.filter(isAlive)).toEqual(left);
  },
);

test('a pipeline that leads to the dead server is ended', async () => {
  const { control } = await pipelineOfKilled('shown-pipeline');
  await control.dispose('stop');
  expect(habitat.processes()).toEqual([]);
});

/** Starts a server by hand in the place of the dead one. */
async function startByHand(): Promise<number> {
  const [program = '', ...args] = habitat.command;
  const env = habitat.env({ FAKE: 'tool' });
  const child = spawn(program, [...args, '--port', String(habitat.port)], { env, stdio: 'ignore' });
  await waitFor(() => habitat.ask().catch(() => undefined), { what: 'it to listen' });
  return child.pid!;
}

test('also where a person has started the next server: the daemon that finds it ends what is left of ours', async () => {
  const { tool, options } = await killedServer('tool');
  const byHand = await startByHand();
  const itsTool = (await habitat.ask()).tool!;
  const next = new SpawnControl(options);
  expect(await next.attach(habitat.signal)).toMatchObject({ pid: byHand });
  expect(isAlive(tool)).toBe(false);
  expect([isAlive(byHand), isAlive(itsTool)]).toEqual([true, true]);
  expect(habitat.notices.join('\n')).toContain('ended what an earlier server left running');
  expect(existsSync(join(options.stateDir, 'earlier-servers.json'))).toBe(false);
  await next.dispose('leave');
});

test('to watch the server that a person has started ends nobody, and the next start still finds what is left', async () => {
  const { control, tool, options } = await killedServer('tool');
  const byHand = await startByHand();
  expect(await control.attach(habitat.signal, { onlyWatch: true })).toMatchObject({ pid: byHand });
  expect(isAlive(tool)).toBe(true);
  expect((await control.usage())?.bytes).toBeGreaterThan(0);
  process.kill(byHand, 'SIGKILL');
  await waitFor(() => habitat.exits.some(({ pid }) => pid === byHand));
  await control.start(habitat.signal);
  expect(isAlive(tool)).toBe(false);
  expect(existsSync(join(options.stateDir, 'earlier-servers.json'))).toBe(false);
  await control.dispose('stop');
});

test('a restart of a server that was only watched so far ends what is left of an earlier one', async () => {
  const { control, tool, options } = await killedServer('tool');
  const byHand = await startByHand();
  await control.attach(habitat.signal, { onlyWatch: true });
  await control.restart(habitat.signal);
  expect([isAlive(byHand), isAlive(tool)]).toEqual([false, false]);
  expect(existsSync(join(options.stateDir, 'earlier-servers.json'))).toBe(false);
  await control.dispose('stop');
});

test('who only reads ends nobody', async () => {
  const { tool, options } = await killedServer('tool');
  await startByHand();
  const reader = new SpawnControl({ ...options, readOnly: true });
  await reader.attach(habitat.signal);
  expect(isAlive(tool)).toBe(true);
  await reader.dispose('leave');
});

test('a server that lives keeps its tools when a daemon takes it up, also where it was one of several', async () => {
  const { options } = await killedServer('tool');
  const second = new SpawnControl(options);
  const { pid } = await second.start(habitat.signal);
  const tool = (await habitat.ask()).tool!;
  await second.dispose('leave');
  const third = new SpawnControl(options);
  expect(await third.attach(habitat.signal)).toMatchObject({ pid });
  expect([isAlive(pid!), isAlive(tool)]).toEqual([true, true]);
  await third.dispose('stop');
  expect(habitat.processes()).toEqual([]);
});

test('another server’s tools are left alone', async () => {
  const other = await Habitat.make();
  try {
    const neighbour = new SpawnControl(other.options({ fake: 'tool' }));
    await neighbour.start(other.signal);
    const { control } = await killedServer('tool');
    await control.restart(habitat.signal);
    expect(isAlive((await other.ask()).tool!)).toBe(true);
    await neighbour.dispose('stop');
    await control.dispose('stop');
  } finally {
    await other.clear();
  }
});

test('also where the daemon is told to stop in the middle of a restart', async () => {
  const control = new SpawnControl(habitat.options({ fake: 'tool-ignore-term' }));
  const { pid } = await control.start(habitat.signal);
  const stop = new AbortController();
  const restart = control.restart(stop.signal).catch((error: unknown) => error);
  await waitFor(() => !isAlive(pid!), { what: 'the server to end', interval: 5 });
  stop.abort(new Error('stopping'));
  await restart;
  await control.dispose('stop');
  expect(habitat.processes()).toEqual([]);
});

test('a port whose holder is just dying is looked at again', async () => {
  let looks = 0;
  const holders = async () => (++looks <= 3 ? [{ uid: process.getuid?.() ?? 0 }] : []);
  const control = new SpawnControl(habitat.options({ holders }));
  expect(await control.attach(habitat.signal)).toBeNull();
  expect(habitat.notices).toEqual([]);
});
