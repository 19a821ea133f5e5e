import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { Config } from '../../src/config/schema.js';
import { readStatusToken } from '../../src/config/status-token.js';
import { launchBrowser, NO_BROWSER } from '../support/browser.js';
import { runCli } from '../support/command.js';
import type { TestDaemon } from '../support/daemon.js';
import { api } from '../support/opencode.js';
import { freePort } from '../support/ports.js';
import { isAlive } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { createWorld, type World } from '../support/world.js';

let world: World;
let watchdog: TestDaemon;
let browser: Browser;
let port: number;

beforeAll(async () => {
  world = await createWorld();
  port = await freePort();
  watchdog = await world.daemon({
    retry: { maxAttempts: 2 },
    status: { listen: `127.0.0.1:${port}` },
  });
  await watchdog.saw('server.healthy', {}, 120_000);
  if (NO_BROWSER === '') browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.close();
  await world?.end();
});

async function prompted(title: string, prompt: string): Promise<string> {
  const { url, directory } = world;
  const session = await api(url).createSession({ directory, title });
  await api(url).promptAsync(session.id, directory, prompt);
  return session.id;
}

describe.skipIf(NO_BROWSER !== '')(`the page${NO_BROWSER}`, () => {
  it('shows a session retry, get stuck and be aborted, without a reload; and aborts one itself', async () => {
    const page = await browser.newPage();
    const found = readStatusToken(
      { status: { tokenFile: null }, server: { url: world.url } } as Config,
      world.env,
      '/',
    );
    if (found.kind !== 'token') throw new Error(`no token in ${found.file}`);
    await page.goto(`http://127.0.0.1:${port}/#token=${found.token.reveal()}`);
    await page.locator('#live[data-live="live"]').waitFor();
    await page.evaluate('window.notReloaded = true');
    // Records every word that the page has shown, so that no state is too short to be seen.
    await page.evaluate(`
      window.shown = [];
      new MutationObserver(() => {
        for (const word of document.querySelectorAll('#rows .word')) {
          if (window.shown.at(-1) !== word.textContent) window.shown.push(word.textContent);
        }
      }).observe(document.getElementById('rows'), { subtree: true, childList: true, characterData: true });
    `);
    const failing = await prompted('Rate limited', '[[429]]');
    const row = page.locator(`tr[data-id="${failing}"]`);
    await row.getByText('retrying').waitFor();
    await row.getByText('aborted (too many attempts)').waitFor();
    expect(await row.locator('.timeline').getAttribute('aria-label')).toContain('stuck');
    const shown = await page.evaluate<string[]>('window.shown');
    expect(shown).toContain('retrying');
    expect(shown.at(-1)).toBe('idle');
    await page.locator('#incidents').getByText('Rate limited').first().waitFor();

    const hanging = await prompted('Hangs', '[[hang]]');
    await page.getByRole('button', { name: 'Abort Hangs' }).click();
    await page.locator('dialog').getByRole('button', { name: 'Abort session' }).click();
    await page.getByText(`Session ${hanging} is aborted: seen idle`).waitFor();
    expect(await api(world.url).status(world.directory)).not.toHaveProperty(hanging);
    await waitFor(() => world.provider.about('[[hang]]').every(({ open }) => !open));
    await watchdog.saw('act.done', { sessionID: hanging, outcome: 'done' });
    expect(await page.evaluate('window.notReloaded')).toBe(true);
    await page.close();
  });
});

describe('restart', () => {
  const restart = async (listen: string) => {
    const config = join(world.home.path, `${listen.replaceAll(/\W/g, '-')}.yaml`);
    const server = { url: world.url, directory: world.directory, startTimeout: '120s' };
    await writeFile(config, stringify({ server, status: { listen } }));
    return runCli(['restart', '--config', config], { env: world.env });
  };

  it('is done by the daemon where one watches, and seen to its end', async () => {
    const before = watchdog.events('server.healthy').at(-1)!.pid!;
    const { code, err } = await restart(`127.0.0.1:${port}`);
    expect(err).toMatch(/the server is healthy again, pid \d+/);
    expect(code).toBe(0);
    expect(watchdog.events('server.restarting')).toMatchObject([{ reason: 'manual', pid: before }]);
    expect(isAlive(before)).toBe(false);
  });

  it('is done with the same steps where none does', async () => {
    const before = watchdog.events('server.restarted').at(-1)!.pid!;
    await watchdog.stop();
    // A daemon ends its own server when it stops. This one leaves its server running, and it is restarted by hand.
    const alone = await world.daemon({ server: { onExit: 'leave' } });
    const { pid } = await alone.saw('server.healthy', {}, 120_000);
    await alone.stop();
    expect(isAlive(before)).toBe(false);
    const { code, err } = await restart(`127.0.0.1:${port}`);
    expect(err).toMatch(/no daemon watches this server[\s\S]*the server is healthy again, pid \d+/);
    expect(code).toBe(0);
    expect(isAlive(pid!)).toBe(false);
    const now = Number(/again, pid (\d+)/.exec(err)![1]);
    expect(isAlive(now)).toBe(true);
    process.kill(now);
    await waitFor(() => !isAlive(now));
  });
});
