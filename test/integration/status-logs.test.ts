/** docs/logs.md: each command is run on the log of a daemon in which everything happened that the page asks about. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { EVENT_NAMES } from '../../src/telemetry/catalogue/catalogue.js';
import { waitFor } from '../support/wait.js';
import { retry } from './daemon-support.js';
import { watched } from './status-support.js';

const NO_JQ = spawnSync('jq', ['--version']).status === 0 ? '' : ' (skipped: jq is not installed)';
const PAGE = fileURLToPath(new URL('../../docs/logs.md', import.meta.url));

interface Question {
  title: string;
  jq: string;
  journal: string;
  logql: string;
}

async function questions(): Promise<Question[]> {
  const sections = (await readFile(PAGE, 'utf8')).split('\n## ').slice(1);
  return sections.map((section) => {
    const [, jq, journal] = [...section.matchAll(/```sh\n(.*)\n```/g)].flatMap((each, i) =>
      i === 0 ? [each[1], each[1]] : [each[1]],
    );
    const logql = /```logql\n(.*)\n```/.exec(section)?.[1];
    return { title: section.split('\n', 1)[0]!, jq: jq!, journal: journal!, logql: logql! };
  });
}

/** What each answer must contain, by the question. */
const ANSWERS: Record<string, RegExp> = {
  'What happened last night?':
    /Fix the build: .*aborted[\s\S]*Never ends: .*wedged[\s\S]* server: The server is back/,
  'What happened to this session?':
    /session\.health.*\n[\s\S]*session\.stuck[\s\S]*session\.aborting[\s\S]*session\.aborted/,
  'Why was this session aborted?': /attempts: 5, limit 5; Rate limit reached/,
  'Why are sessions aborted, and how often?': /^1 attempts$/m,
  'How fast are aborts': /^2 aborts, median [\d.]+ ms, worst [\d.]+ ms$/m,
  'Which aborts did not work': /LIAR still retry[\s\S]*LIAR wedged after 1 tries/,
  'What did the last restart cost?': / wedged: 7 ms, cut 1: LIAR$/m,
  'How often is the server restarted': /^ +1 \d{4}-\d\d-\d\d wedged\n$/,
  'Which sessions did restarts cut': /LIAR was wedged \(wedged\) Never ends/,
  'Which model fails most?': /^2 not known$/m,
  'What do providers say': /^ +4 Rate limit reached$/m,
  'Was a provider down':
    /provider\.outage openai\/gpt-5 \n.*provider\.back openai\/gpt-5 after 3 min/,
  'Is anything in trouble right now?': /LEFT stuck since /,
  'How long do people let sessions wait?': /^\d+(\.\d+)? ms permission person /m,
  "How does the server's memory grow?": /Z 117 MiB$/m,
  'When did the event stream break?': /Z .* after \d+ ms of silence$/m,
  'What did people ask':
    /A request over HTTP asks for this: abort[\s\S]*done after[\s\S]*Paused[\s\S]*Resumed/,
  'What would it have done': /paused: abort HELD \(attempts\)/,
  'Is the watchdog itself well?': /warn The status endpoint cannot listen/,
};

describe.skipIf(NO_JQ !== '')(`the questions of docs/logs.md${NO_JQ}`, () => {
  it('are answered by the commands beside them', async () => {
    const { log, ids } = await anEventfulDay();
    const folder = await mkdtemp(join(tmpdir(), 'watchdog-logs-'));
    try {
      await writeFile(join(folder, 'watchdog.log'), log);
      await fakeJournal(folder, log);
      await Promise.all(
        (await questions()).map(async ({ title, jq, journal }) => {
          const named = Object.keys(ANSWERS).find((start) => title.startsWith(start));
          expect(named, `a test of "${title}"`).toBeDefined();
          const out = await sh(jq.replaceAll('ses_1', ids.SICK!), folder);
          const plain = Object.entries(ids).reduce(
            (text, [name, id]) => text.replaceAll(id, name),
            out,
          );
          expect(plain, `${title}\n${jq}`).toMatch(ANSWERS[named!]!);
          expect(await sh(journal.replaceAll('ses_1', ids.SICK!), folder), title).toBe(out);
        }),
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('name only events that there are, in LogQL too', async () => {
    for (const { title, logql } of await questions()) {
      expect(logql, title).toMatch(/\{job="opencode-watchdog"\} \| json/);
      const [, names = ''] = /event=~?"([^"]+)"/.exec(logql) ?? [];
      for (const name of names.split('|').filter(Boolean))
        expect(EVENT_NAMES, title).toContain(name);
      // A dry run says that it would restart the server.
      if (names.includes('server.restarting')) expect(logql, title).toContain('| would!="true"');
    }
  });
});

/** A journal of that log, with systemd's own lines around it: `-o cat` shows them too. */
async function fakeJournal(folder: string, log: string): Promise<void> {
  const journal = [
    'Starting opencode-watchdog.service - opencode, started and watched over by opencode-watchdog...\n',
    log,
    'opencode-watchdog.service: Consumed 1.234s CPU time.\n',
  ];
  await writeFile(join(folder, 'journal'), journal.join(''));
  await writeFile(join(folder, 'journalctl'), `#!/bin/sh\ncat '${folder}/journal'\n`, {
    mode: 0o755,
  });
}

function sh(command: string, cwd: string): Promise<string> {
  const env = { ...process.env, PATH: `${cwd}:${process.env.PATH}` };
  return new Promise((resolve, reject) => {
    execFile('sh', ['-c', command], { cwd, env }, (error, out, err) =>
      error ? reject(new Error(`${command}\n${err}`)) : resolve(out),
    );
  });
}

/**
 * A daemon that aborts, fails to abort, restarts, is paused, asked and cut off. Returns its log as it was written, and
 * a line of a dry run after it.
 */
async function anEventfulDay(): Promise<{ log: string; ids: Record<string, string> }> {
  const w = await watched({
    retry: { maxAttempts: 5 },
    abort: { verifyTimeout: 200, maxTries: 1 },
  });
  const ids: Record<string, string> = {};
  const add = (name: string, title: string, directory = '/home/ada/shop') => {
    const { id } = w.server.addSession({ title, directory });
    ids[name] = id;
    return id;
  };
  const sick = add('SICK', 'Fix the build');
  w.server.setStatus(sick, { type: 'busy' });
  w.server.setStatus(sick, retry(1));
  await w.saw('session.health', { sessionID: sick, health: 'retrying' });
  w.server.setStatus(sick, retry(5));
  await w.saw('session.aborted', { sessionID: sick });

  const asking = add('ASKING', 'Tidy up');
  w.server.setStatus(asking, { type: 'busy' });
  const request = w.server.ask('permission', asking);
  await w.saw('session.waiting', { sessionID: asking });
  w.server.answer(request.id, 'replied', { reply: 'once' });
  await w.saw('session.answered', { sessionID: asking });
  await w.post(`/sessions/${asking}/abort`);
  await w.saw('act.done', { sessionID: asking });

  const liar = add('LIAR', 'Never ends');
  w.server.abortBehaviour = 'lies';
  w.server.setStatus(liar, retry(1));
  await w.saw('session.health', { sessionID: liar, health: 'retrying' });
  w.server.setStatus(liar, retry(5));
  await w.saw('server.restarted', { reason: 'wedged' });
  w.server.setStatus(liar, { type: 'idle' });
  w.server.abortBehaviour = 'works';

  await w.post('/pause');
  const held = add('HELD', 'Held');
  w.server.setStatus(held, { type: 'busy' });
  w.server.setStatus(held, retry(5));
  await w.saw('act.skipped', { sessionID: held });
  w.server.setStatus(held, { type: 'idle' });
  await w.saw('session.health', { sessionID: held, health: 'idle' });
  await w.post('/resume');
  w.server.endStreams();
  await w.saw('stream.lost');
  await w.post('/pause');
  const left = add('LEFT', 'Left alone');
  w.server.setStatus(left, retry(5));
  await w.saw('act.skipped', { sessionID: left });
  // What this small world cannot cause is logged here as the daemon would log it.
  w.emit('health.summary', {
    idle: 4,
    busy: 0,
    waiting: 0,
    delegating: 0,
    retrying: 0,
    looping: 0,
    stalled: 0,
    stuck: 1,
    wedged: 0,
    eventsPerSec: 1,
    serverMemoryBytes: 123_456_789,
    watchdogMemoryBytes: 1e8,
    costTodayUsd: 0,
    tokensToday: 0,
    restarts: 1,
  });
  w.emit('provider.outage', { provider: 'openai', model: 'gpt-5', sessions: 3, message: 'busy' });
  w.emit('provider.back', { provider: 'openai', model: 'gpt-5', outageMs: 200_000 });
  w.emit('status.failed', { address: '127.0.0.1:4097', error: 'taken', retryInMs: 30_000 });
  await waitFor(() => w.lines.some(({ event }) => event === 'status.failed'));
  const restarting = w.lines.find(({ event }) => event === 'server.restarting');
  const dryRun = { ...restarting, reason: 'pileup', interrupted: [sick, left], would: true };
  return { log: [...w.lines, dryRun].map((line) => `${JSON.stringify(line)}\n`).join(''), ids };
}
