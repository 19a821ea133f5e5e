/**
 * What the safe driver costs: a prompt by the library, one by the command, and a batch, compared with the bare calls.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { OpencodeDriver } from '../src/index.js';
import { CLI } from '../test/support/daemon.js';
import { startFakeProvider } from '../test/support/fake-provider.js';
import { opencodeEnv, startOpencode } from '../test/support/opencode.js';
import { median, ms, type Row } from './figures.js';

const PROMPT = '[[ok]] bench';
const BARE = fileURLToPath(new URL('driver-bare.mjs', import.meta.url));
const CONCURRENCY = 4;
const run = promisify(execFile);

export async function driver({ prompts = 20, commands = 10, tasks = 200 } = {}): Promise<Row[]> {
  const provider = await startFakeProvider();
  const server = await startOpencode({ provider });
  const library = new OpencodeDriver({ url: server.url });
  const env = { ...opencodeEnv(server.home.path), OPENCODE_API_URL: server.url };
  const raw = () => bareCalls(server.url);
  const ours = async () => {
    await library.prompt({ prompt: PROMPT });
  };
  const script = async () => {
    await run(process.execPath, [BARE, server.url, PROMPT], { env });
  };
  const command = async () => {
    await run(process.execPath, [CLI, 'prompt', PROMPT], { env, cwd: server.directory });
  };
  try {
    return [
      await row('driver: a prompt of the library', '3 bare calls', 1.5, prompts, ours, raw),
      await row('driver: the prompt command', 'a bare script', 2, commands, command, script),
      await batchRow(library, raw, tasks),
    ];
  } finally {
    await library.close();
    await server.stop();
    await provider.stop();
  }
}

/** Measures both in alternation, so that other load on the machine affects both. */
async function row(
  measure: string,
  against: string,
  goal: number,
  samples: number,
  ours: () => Promise<void>,
  theirs: () => Promise<void>,
): Promise<Row> {
  const took = { ours: [] as number[], theirs: [] as number[] };
  await theirs();
  await ours();
  for (let n = 0; n < samples; n += 1) {
    took.theirs.push(await timed(theirs));
    took.ours.push(await timed(ours));
  }
  return {
    measure,
    result: `median ${ms(median(took.ours))} of ${samples}`,
    against: `${against}: median ${ms(median(took.theirs))}`,
    ratio: `${(median(took.ours) / median(took.theirs)).toFixed(2)}x`,
    goal: `≤ ${goal}x`,
  };
}

async function batchRow(
  library: OpencodeDriver,
  raw: () => Promise<void>,
  count: number,
): Promise<Row> {
  const theirs = await timed(async () => {
    let left = count;
    const worker = async () => {
      while (left > 0) {
        left -= 1;
        await raw();
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  });
  const ours = await timed(async () => {
    const list = Array.from({ length: count }, () => ({ prompt: PROMPT }));
    for await (const result of library.batch(list, { concurrency: CONCURRENCY })) {
      if (!result.ok) throw result.error;
    }
  });
  return {
    measure: `driver: a batch of ${count}, ${CONCURRENCY} at a time`,
    result: ms(ours),
    against: `a loop of bare calls: ${ms(theirs)}`,
    ratio: `${(ours / theirs).toFixed(2)}x`,
    goal: '≤ 1.3x',
  };
}

async function bareCalls(url: string): Promise<void> {
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}`);
    return response.json() as Promise<unknown>;
  };
  const { id } = (await call('POST', '/session', { title: 'bench' })) as { id: string };
  await call('POST', `/session/${id}/message`, { parts: [{ type: 'text', text: PROMPT }] });
  await call('DELETE', `/session/${id}`);
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
