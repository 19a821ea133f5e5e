/** What the driver's commands read from files and flags. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { finishedTasks, readTasks } from '../../../../src/commands/batch-tasks.js';
import { filePart, permissionRule, sendOptions } from '../../../../src/commands/prompt-options.js';
import { ExitError } from '../../../../src/commands/shared.js';

const folder = mkdtempSync(join(tmpdir(), 'driver-files-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string | Buffer) => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

describe('tasks', () => {
  it('are read from NDJSON, a JSON array and YAML alike', () => {
    const ndjson = '{"prompt":"a","timeout":"2m","model":"x/y"}\n\n{"id":7,"prompt":"b"}\n';
    const yaml = '- prompt: a\n  timeout: 2m\n  model: x/y\n- id: 7\n  prompt: b\n';
    const tasks = readTasks('t.ndjson', ndjson);
    expect(tasks).toMatchObject([
      { id: '1', prompt: 'a', timeoutMs: 120_000, model: 'x/y' },
      { id: '7', prompt: 'b' },
    ]);
    expect(readTasks('t.yaml', yaml)).toEqual(tasks);
    expect(readTasks('stdin', yaml)).toEqual(tasks);
    const array = `[${ndjson.trim().replaceAll('\n\n', ',\n')}]`;
    expect(readTasks('t.json', array)).toEqual(tasks);
  });

  it('of a list are refused with their line', () => {
    const yaml = '- prompt: a\n\n- prompt: b\n  timeout: 60\n';
    expect(() => readTasks('t.yaml', yaml)).toThrow('t.yaml, line 3 (task 2): timeout: expected');
    const array = '[\n  {"prompt": "a"},\n  {"promt": "b"}\n]';
    expect(() => readTasks('t.json', array)).toThrow('t.json, line 3 (task 2): ');
    expect(() => readTasks('t.json', '[\n{"prompt": }\n')).toThrow(
      't.json: Flow sequence must end with a ] at line 3',
    );
  });

  it.each([
    ['no JSON', 't.ndjson, line 2: expected one JSON object a line, got no JSON'],
    ['{"prompt":""}', 't.ndjson, line 2: prompt: '],
    ['{"prompt":"x","timeout":"soon"}', 'timeout: expected a duration'],
    ['{"prompt":"x","timeout":60}', 'timeout: expected a duration with its unit: say 60s'],
    ['{"prompt":"x","model":"m1"}', '"provider/model"'],
    ['{"prompt":"x","modle":"a/b"}', 'unknown key "modle", did you mean "model"?'],
    ['{"prompt":"x","id":"1"}', 'two tasks have the id "1"'],
    ['{"prompt":"x","files":["/nonexistent"]}', '--file "/nonexistent": expected'],
  ])('%s is refused with its place', (line, says) => {
    const read = () => readTasks('t.ndjson', `{"prompt":"good"}\n${line}\n`);
    expect(read).toThrow(ExitError);
    expect(read).toThrow(says);
  });

  it('are finished when an earlier result has the same id and says that it is ok', () => {
    const [one, two] = readTasks('t.ndjson', '{"prompt":"a"}\n{"prompt":"b"}');
    const [changed] = readTasks('t.ndjson', '{"prompt":"a, but otherwise"}');
    const results = [
      JSON.stringify({ id: '1', task: one?.digest, ok: true, text: 'yes' }),
      JSON.stringify({ id: '2', task: two?.digest, ok: false }),
      '{"id":"2","ok":tr',
    ].join('\n');
    expect([...finishedTasks(results)]).toEqual([`1 ${one?.digest}`]);
    expect(changed?.digest).not.toBe(one?.digest);
  });
});

describe('files', () => {
  it('go as data URLs, with the types that models take', () => {
    expect(filePart(file('a.ts', 'let x'))).toEqual({
      type: 'file',
      mime: 'text/plain',
      filename: 'a.ts',
      url: `data:text/plain;base64,${Buffer.from('let x').toString('base64')}`,
    });
    expect(filePart(file('a.PNG', Buffer.from([0x89, 0x50])))).toMatchObject({ mime: 'image/png' });
  });

  it('that are neither text nor such a type are refused', () => {
    expect(() => filePart(file('a.bin', Buffer.from([0, 1, 2])))).toThrow('the file is binary');
    expect(() => filePart(join(folder, 'gone.png'))).toThrow('it does not exist');
  });
});

describe('flags', () => {
  it('become permission rules', () => {
    expect(permissionRule('bash=deny')).toEqual({
      permission: 'bash',
      pattern: '*',
      action: 'deny',
    });
    expect(permissionRule('bash:git push *=ask')).toMatchObject({ pattern: 'git push *' });
    for (const wrong of ['bash', 'bash=maybe', '=deny']) {
      expect(() => permissionRule(wrong)).toThrow('TOOL=allow|deny|ask');
    }
  });

  it('become the options of a prompt', async () => {
    expect(await sendOptions({ timeout: '90s', thinking: '16000', maxAttempts: '2' })).toEqual({
      timeoutMs: 90_000,
      thinking: { type: 'enabled', budget_tokens: 16_000 },
      maxAttempts: 2,
    });
    for (const flags of [{ timeout: '0' }, { thinking: 'lots' }, { maxAttempts: '0' }]) {
      await expect(sendOptions(flags)).rejects.toThrow(ExitError);
    }
  });
});
