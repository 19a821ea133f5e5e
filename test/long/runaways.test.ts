/**
 * Runaways on a real opencode with every limit of the daemon at its default, beside healthy runs that look like them.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Judged, JudgedWorld, lines, touches } from '../support/judged-world.js';
import { stretched } from '../support/slowness.js';
import { waitFor } from '../support/wait.js';

/** A model whose context one step can fill. */
const TIGHT = { tight: { name: 'tight', limit: { context: 60_000, output: 1_000 } } };
/**
 * On a quiet machine each is ended by then. An endless text takes longest, because a text is sampled only after some
 * time.
 */
const ENDED_WITHIN_MS = 100_000;
const PASSAGE =
  'I will now look at the configuration once more, since the error names a key that the schema does not have. ' +
  'The schema is written in one place, and whatever reads it goes through the loader, so that is where to begin. ';
const ALIKE = PASSAGE.replace('configuration', 'part %n of the configuration');
const ROWS = '2026-01-01,eu-west,checkout,200,12.5,ok\n'.repeat(6).trimEnd();
const bash = (command: string) =>
  `bash ${JSON.stringify({ command, description: 'Runs the test command' })}`;
/** A plugin that sends a prompt at each idle, in sessions whose title asks for it. */
const AGAIN = `export const Again = async ({ client }) => ({
  event: async ({ event }) => {
    if (event.type !== 'session.idle') return;
    const path = { id: event.properties.sessionID };
    const { data } = await client.session.get({ path });
    if (data?.title !== 'prompted again and again') return;
    const body = { parts: [{ type: 'text', text: 'Go on. [[ok]]' }] };
    await client.session.promptAsync({ path, body });
  },
});
`;

let world: JudgedWorld;
beforeAll(async () => {
  world = await JudgedWorld.make({ models: TIGHT });
  const { directory } = world;
  await mkdir(join(directory, '.opencode/plugin'), { recursive: true });
  await writeFile(join(directory, '.opencode/plugin/again.js'), AGAIN);
  for (let nth = 0; nth < 14; nth += 1) await writeFile(join(directory, `${nth}.txt`), 'same\n');
  await world.serve();
  await world.warmUp(directory);
});
afterAll(() => world?.end());

test('five runaways are ended within a hundred seconds, and none of their healthy twins is touched', async () => {
  const watchdog = await world.daemon({});
  const begin = (title: string, text: string, model?: string) =>
    world.begin({ title, text, ...(model !== undefined && { model }) });
  const since = Date.now();
  const runaways: [Judged, string][] = [
    [await begin('endless text', `[[say forever 1000 ${PASSAGE}]]`), 'text'],
    [await begin('empty steps', '[[nothing-forever]]'), 'empty'],
    [await begin('the same call', '[[calls forever read {"filePath":"1.txt"}]]'), 'repeat'],
    [await begin('in a cycle', '[[calls forever read {"filePath":"1.txt"} | write {}]]'), 'repeat'],
    [
      await begin('always full', `[[calls forever full=1 ${bash('echo %n')}]]`, 'tight'),
      'compaction',
    ],
  ];
  const rounds = Array.from(
    { length: 13 },
    (_, nth) => `[[write notes.txt ${nth}]] [[bash false]]`,
  );
  const twins = [
    await begin('sentences much alike', `[[say 100 1000 ${ALIKE}]]`),
    await begin('a big table', `[[say 100 1000 ${ROWS}]]`),
    await begin('a poll that waits', `[[calls 13 ${bash('sleep 6')}]]`),
    await begin('a poll with other results', `[[calls 14 ${bash('date +%N')}]]`),
    await begin('files read', '[[calls 14 read {"filePath":"%n.txt"}]]'),
    await begin('a test after each edit', rounds.join(' ')),
    await begin('parallel calls', `[[calls 3 parallel=12 read {"filePath":"%i.txt"}]]`),
    await begin('now and then full', `[[calls 22 full=4 ${bash('echo %n')}]]`, 'tight'),
  ];
  const again = await begin('prompted again and again', '[[ok]]');

  const tookMs = new Map<string, number>();
  await Promise.all(
    runaways.map(async ([{ id, title }, kind]) => {
      const stuck = await watchdog.saw(
        'session.stuck',
        { sessionID: id },
        3 * stretched(ENDED_WITHIN_MS),
      );
      expect(stuck, title).toMatchObject({ reason: 'loop', kind });
      await watchdog.saw('session.aborted', { sessionID: id });
      tookMs.set(title, Date.now() - since);
    }),
  );
  expect([...tookMs].filter(([, ms]) => ms > stretched(ENDED_WITHIN_MS))).toEqual([]);
  const asked = () => runaways.map(([each]) => world.requests(each));
  const before = asked();

  const finished = (each: Judged) =>
    waitFor(() => lines(watchdog, 'session.ended', each)[0], {
      what: `the end of ${each.title}`,
      timeout: 3 * stretched(ENDED_WITHIN_MS),
    });
  for (const each of twins) {
    expect(await finished(each), each.title).toMatchObject({ outcome: 'completed' });
    expect(touches(watchdog, each), each.title).toEqual([]);
    expect(lines(watchdog, 'session.looping', each), each.title).toEqual([]);
  }
  // The provider shows it: it gets no more requests for what was ended.
  expect(asked()).toEqual(before);

  // A program that prompts fast may have good reason to. It is reported and continues.
  await watchdog.saw('session.stuck', { sessionID: again.id }, 3 * stretched(ENDED_WITHIN_MS));
  expect(touches(watchdog, again)).toHaveLength(1);
  expect(lines(watchdog, 'session.stuck', again)).toMatchObject([{ kind: 'runs', value: 20 }]);
  expect(watchdog.events('server.restarting')).toEqual([]);
}, 900_000);
