/** The status page in a real browser: changes show without a reload, and its buttons act. */
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { axeFindings, launchBrowser, NO_BROWSER } from '../support/browser.js';
import { aborted, anHour, stuck } from '../support/status-hour.js';
import { openWorld, type StatusWorld } from '../support/status-world.js';
import { waitFor } from '../support/wait.js';

/** `UPDATE_SCREENSHOTS=1` writes the documentation's pictures. */
const IMAGES = fileURLToPath(new URL('../../docs/images/', import.meta.url));
const PACKAGE = new URL('../../package.json', import.meta.url);

let browser: Browser;
const worlds: StatusWorld[] = [];

beforeAll(async () => {
  if (NO_BROWSER === '') browser = await launchBrowser();
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const context of browser?.contexts() ?? []) await context.close();
  for (const world of worlds.splice(0)) await world.close();
});
afterAll(async () => {
  await browser?.close();
});

async function world(): Promise<StatusWorld> {
  const made = await openWorld();
  worlds.push(made);
  return made;
}

type PageOptions = Parameters<Browser['newContext']>[0];

async function visit(w: StatusWorld, options: PageOptions = {}): Promise<Page> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    // A page that loses its daemon says so itself. The browser's own line about it is no fault.
    const isNetwork = message.text().includes('net::ERR_');
    if (message.type() === 'error' && !isNetwork) complaints.push(message.text());
  });
  await page.goto(w.link);
  await page.locator('#live[data-live="live"]').waitFor();
  page.on('close', () => expect(complaints).toEqual([]));
  return page;
}

const LOOKS = [
  ['1440, light', { viewport: { width: 1440, height: 900 }, colorScheme: 'light' }],
  ['1440, dark', { viewport: { width: 1440, height: 900 }, colorScheme: 'dark' }],
  ['390, light', { viewport: { width: 390, height: 844 }, colorScheme: 'light' }],
  ['390, dark', { viewport: { width: 390, height: 844 }, colorScheme: 'dark' }],
] as const;

const row = (page: Page, id: string) => page.locator(`tr[data-id="${id}"]`);

describe.skipIf(NO_BROWSER !== '')(`the status page${NO_BROWSER}`, () => {
  it('shows a session go from retrying to stuck to aborted, without a reload', async () => {
    const w = await world();
    const page = await visit(w);
    const title = 'Fix the build';
    w.health('ses_1', 'retrying', {
      title,
      attempt: 2,
      message: 'Rate limit reached',
      nextInMs: 60_000,
    });
    await row(page, 'ses_1').getByText('retrying').waitFor();
    await row(page, 'ses_1').getByText('attempt 2 of 12 · Rate limit reached').waitFor();
    stuck(w, 'ses_1', title);
    await row(page, 'ses_1').getByText('stuck', { exact: true }).waitFor();
    await page.locator('#incidents .open').waitFor();
    expect(await page.title()).toBe('(1) healthy · opencode-watchdog');
    aborted(w, 'ses_1', title);
    await row(page, 'ses_1').getByText('aborted (too many attempts)').waitFor();
    expect(await row(page, 'ses_1').locator('.word').textContent()).toBe('idle');
    expect(await row(page, 'ses_1').locator('.timeline').getAttribute('aria-label')).toMatch(
      /stuck/,
    );
    await page.locator('#incidents summary').click();
    await page.getByText('seen idle after 38 ms').first().waitFor();
    // Announced once, for screen readers.
    expect(await page.locator('#news').textContent()).toContain(
      'Session “Fix the build” is stuck: 12 requests have failed, limit 12',
    );
  });

  it('aborts, restarts, pauses and resumes, each only when confirmed', async () => {
    const w = await world();
    w.health('ses_1', 'busy', { title: 'Write the docs' });
    const page = await visit(w);
    const dialog = page.locator('dialog');
    await page.getByRole('button', { name: 'Abort Write the docs' }).click();
    await dialog.getByRole('heading', { name: 'Abort “Write the docs”?' }).waitFor();
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('button', { name: 'Restart server' }).click();
    await dialog.getByText('Every running session is cut: 1 session now.').waitFor();
    await page.keyboard.press('Escape');
    expect(w.source.acts).toEqual([]);
    await page.getByRole('button', { name: 'Abort Write the docs' }).click();
    await dialog.getByRole('button', { name: 'Abort session' }).click();
    await page.getByText('Session ses_1 is aborted').waitFor();
    await page.getByRole('button', { name: 'Restart server' }).click();
    await dialog.getByRole('button', { name: 'Restart server' }).click();
    await page.getByText('The server is being restarted').waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();
    await dialog.getByRole('button', { name: 'Pause' }).click();
    await waitFor(() => w.source.paused, { interval: 10 });
    w.telemetry.emit('daemon.paused', { by: 'page' });
    await page.getByText('Paused: the watchdog watches').waitFor();
    await page.getByRole('button', { name: 'Resume' }).click();
    await dialog.getByRole('button', { name: 'Resume' }).click();
    await waitFor(() => !w.source.paused, { interval: 10 });
    expect(w.source.acts).toEqual(['abort ses_1', 'restart', 'pause', 'resume']);
  });

  it('is usable by keyboard alone', async () => {
    const w = await world();
    w.health('ses_1', 'busy', { title: 'Write the docs' });
    const page = await visit(w);
    await row(page, 'ses_1').waitFor();
    // Passed as text: the page's types are not Node's.
    const focused = () => page.evaluate<string>('document.activeElement.textContent.trim()');
    for (let i = 0; i < 20 && (await focused()) !== 'Abort'; i += 1)
      await page.keyboard.press('Tab');
    expect(await focused()).toBe('Abort');
    await page.keyboard.press('Enter');
    await page.locator('dialog[open]').waitFor();
    // The first button in the dialog is the harmless one.
    expect(await focused()).toBe('Cancel');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await waitFor(() => w.source.acts.includes('abort ses_1'), { interval: 10 });
    const table = page.getByRole('table', { name: /Sessions/ });
    // The heading, the group's row, and the session's row.
    expect(await table.getByRole('row').count()).toBe(3);
    expect(await table.getByRole('columnheader').count()).toBe(6);
  });

  it('shows ids and numbers without the token, and what it lacks; the link lets it act, and keeps no token in the address', async () => {
    const w = await world();
    w.health('ses_1', 'busy', { title: 'Write the docs' });
    const bare = await (await browser.newContext()).newPage();
    await bare.goto(w.url);
    await row(bare, 'ses_1').getByText('busy').waitFor();
    await bare.getByText('open the link that “opencode-watchdog page” prints').waitFor();
    expect(await bare.content()).not.toContain('Write the docs');
    expect(await bare.getByRole('button', { name: 'Restart server' }).isDisabled()).toBe(true);
    expect(
      await row(bare, 'ses_1')
        .getByRole('button', { name: /^Abort/ })
        .isVisible(),
    ).toBe(false);
    const page = await visit(w);
    expect(page.url()).toBe(`${w.url}/`);
    await page.getByRole('button', { name: 'Abort Write the docs' }).click();
    await page.locator('dialog').getByRole('button', { name: 'Abort session' }).click();
    await page.getByText('Session ses_1 is aborted').waitFor();
    // The token stays for this tab, also after a reload, and is in no cookie.
    await page.reload();
    await page.getByRole('button', { name: 'Abort Write the docs' }).waitFor();
    expect(await page.context().cookies()).toEqual([]);
  });

  it('says that the connection is lost, and goes on by itself when the daemon is back', async () => {
    const w = await world();
    w.health('ses_1', 'busy', { title: 'Before' });
    const page = await visit(w);
    await row(page, 'ses_1').waitFor();
    const { port } = w;
    await w.close();
    worlds.splice(0);
    await page.getByText(/no connection since .*: what is shown is the last known/).waitFor();
    expect(await page.getByRole('button', { name: 'Restart server' }).isDisabled()).toBe(true);
    const again = await openWorld({
      address: { kind: 'tcp', host: '127.0.0.1', port, loopback: true },
    });
    worlds.push(again);
    again.health('ses_2', 'busy', { title: 'After' });
    await row(page, 'ses_2').getByText('After').waitFor({ timeout: 20_000 });
    expect(await row(page, 'ses_1').count()).toBe(0);
    await page.locator('#live[data-live="live"]').waitFor();
  });

  it('puts what needs a look first, groups the rest by project, folds the idle, and keeps the choice in the address', async () => {
    const w = await world();
    const title = (id: string) => ({ title: `Title of ${id}`, directory: '/home/ada/shop' });
    w.health('ses_busy', 'busy', title('ses_busy'));
    w.health('ses_child', 'busy', { ...title('ses_child'), parentID: 'ses_busy' });
    w.health('ses_other', 'busy', { title: 'Elsewhere', directory: '/home/ada/web' });
    w.health('ses_ask', 'waiting', {
      ...title('ses_ask'),
      waitingFor: 'question',
      waitingForMs: 130_000,
    });
    w.health('ses_done', 'busy', title('ses_done'));
    w.health('ses_done', 'idle', title('ses_done'));
    w.health('ses_bad', 'busy', title('ses_bad'));
    aborted(w, 'ses_bad', 'Title of ses_bad', 'loop');
    const page = await visit(w);
    await row(page, 'ses_ask').waitFor();
    const order = () =>
      page.evaluate<string[]>(
        "[...document.querySelectorAll('#rows tr')].filter((tr) => !tr.hidden).map((tr) => tr.dataset.id ?? tr.dataset.group.trim())",
      );
    expect(await order()).toEqual([
      'attention',
      'ses_ask',
      'shop',
      'ses_busy',
      'ses_child',
      'web',
      'ses_other',
      'ended badly',
      'ses_bad',
      'idle',
    ]);
    await row(page, 'ses_ask')
      .getByText(/waits for a person to answer a question, for 2 min 1\d s/)
      .waitFor();
    await row(page, 'ses_bad').getByText('aborted (going round in circles)').waitFor();
    await page.getByRole('button', { name: /^Idle/ }).click();
    await row(page, 'ses_done').waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('elsewhere');
    await waitFor(async () => (await page.locator('#rows tr[data-id]:visible').count()) === 1, {
      interval: 20,
    });
    expect(page.url()).toContain('?q=elsewhere');
    await page.reload();
    await row(page, 'ses_other').waitFor();
    expect(await page.locator('#rows tr[data-id]:visible').count()).toBe(1);
    await page.keyboard.press('?');
    await page.getByRole('heading', { name: 'Keys' }).waitFor();
  });

  it('opens a session with what it does, what happened to it and the end of its transcript', async () => {
    const w = await world();
    w.source.excerpts.set('ses_1', {
      lastWords: 'I run the tests now.',
      tool: { tool: 'bash', input: 'npm test' },
      messages: [
        { role: 'assistant', text: 'I run the tests now.', tools: ['bash npm test (running)'] },
      ],
    });
    w.health('ses_1', 'busy', {
      title: 'Fix the build',
      directory: '/home/ada/shop',
      tool: 'bash',
      toolForMs: 100_000,
      costUsd: 0.42,
      steps: 7,
    });
    const page = await visit(w);
    await row(page, 'ses_1')
      .getByText(/bash npm test for 1 min \d+ s of 1 h/)
      .waitFor();
    await row(page, 'ses_1').getByText('“I run the tests now.”').waitFor();
    await row(page, 'ses_1')
      .getByText(/\$0\.42 · 7 steps/)
      .waitFor();
    await row(page, 'ses_1').getByRole('button', { name: 'Fix the build', exact: true }).click();
    const detail = page.locator('#detail');
    await detail.getByText('bash npm test (running)').waitFor();
    await detail.getByText('/home/ada/shop', { exact: true }).waitFor();
    expect(await detail.getByRole('link', { name: 'Open in opencode' }).getAttribute('href')).toBe(
      'http://opencode.test:4096/L2hvbWUvYWRhL3Nob3A/session/ses_1',
    );
    await detail.getByRole('button', { name: 'Close' }).click();
    await detail.waitFor({ state: 'hidden' });
  });

  it('says in the tab that it is paused, and looks like a dry run in one', async () => {
    const w = await world();
    w.source.paused = true;
    const page = await visit(w);
    await waitFor(async () => (await page.title()) === 'paused · healthy · opencode-watchdog', {
      interval: 20,
    });
    const other = await world();
    other.source.dryRun = true;
    const dry = await visit(other);
    await dry.getByText('Dry run: nothing on this page was done.').waitFor();
    expect(await dry.title()).toBe('dry run · healthy · opencode-watchdog');
  });

  it.each(LOOKS)('axe finds nothing: %s', async (_name, look) => {
    const w = await openWorld({ back: 11_520_000 });
    worlds.push(w);
    await anHour(w);
    const page = await visit(w, look);
    await row(page, 'ses_7Qm2').waitFor();
    expect(await axeFindings(page)).toEqual([]);
    await row(page, 'ses_7Qm2').locator('.title').click();
    await page.locator('#detail dl').waitFor();
    expect(await axeFindings(page)).toEqual([]);
    if (look.viewport.width === 390) {
      await page.keyboard.press('Escape');
      const small = await page.evaluate<string[]>(
        "[...document.querySelectorAll('button, select, input')].filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 44).map((each) => each.outerHTML.slice(0, 80))",
      );
      expect(small).toEqual([]);
      const tops = await page.evaluate<number[]>(
        "['incidents', 'rows'].map((id) => document.getElementById(id).getBoundingClientRect().top)",
      );
      expect(tops[0]).toBeLessThan(tops[1] ?? 0);
    }
  });

  it('reads well in light, in dark and on a phone', async () => {
    const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8'));
    const w = await openWorld({ back: 11_520_000, version });
    worlds.push(w);
    // As measured for a daemon alone. Here it would be the memory of the tests.
    vi.spyOn(process.memoryUsage, 'rss').mockReturnValue(93_680_000);
    await anHour(w);
    const looks = {
      light: { viewport: { width: 1360, height: 880 }, colorScheme: 'light' },
      dark: { viewport: { width: 1360, height: 880 }, colorScheme: 'dark' },
      phone: {
        viewport: { width: 390, height: 844 },
        colorScheme: 'light',
        isMobile: true,
        hasTouch: true,
      },
    } as const;
    for (const [name, look] of Object.entries(looks)) {
      const page = await visit(w, look);
      await row(page, 'ses_7Qm2').waitFor();
      const wide = await page.evaluate<number>('document.documentElement.scrollWidth');
      expect(wide, `${name} needs no sideways scrolling`).toBeLessThanOrEqual(look.viewport.width);
      if (process.env.UPDATE_SCREENSHOTS) {
        mkdirSync(IMAGES, { recursive: true });
        if (name === 'phone') await page.evaluate('scrollTo(0, 560)');
        const path = `${IMAGES}status-${name}.png`;
        await page.screenshot({ path, animations: 'disabled' });
        expect(statSync(path).size).toBeLessThan(200_000);
      }
    }
  });
});
