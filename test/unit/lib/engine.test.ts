/** The engine's settings are ones that this Node knows, and are taken back when there is work. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const tsx = fileURLToPath(new URL('../../../node_modules/.bin/tsx', import.meta.url));
const engine = fileURLToPath(new URL('../../../src/lib/engine.ts', import.meta.url));

test('no setting is unknown to V8, which would say so on stderr, and a function goes on running through all', async () => {
  // In a process of its own: they are of the whole process.
  const script = `
    import { expectToIdle, expectWork } from ${JSON.stringify(engine)};
    const sum = (n: number) => { let s = 0; for (let i = 0; i < n; i++) s = (s + i) % 1009; return s; };
    const first = sum(1e6);
    expectToIdle();
    const idle = sum(1e6);
    expectWork();
    expectWork();
    console.log(first === idle && idle === sum(1e6));
  `;
  const { stdout, stderr } = await promisify(execFile)(tsx, ['--eval', script]);
  expect({ stdout, stderr }).toEqual({ stdout: 'true\n', stderr: '' });
});
