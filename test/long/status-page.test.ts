/** The status page in a real browser, with more sessions than anybody would look at. */
import { expect, test } from 'vitest';
import { axeFindings, launchBrowser, NO_BROWSER } from '../support/browser.js';
import { openWorld } from '../support/status-world.js';
import { waitFor } from '../support/wait.js';

test.skipIf(NO_BROWSER !== '')(
  `the page stays smooth with 500 sessions that all change${NO_BROWSER}`,
  async ({ onTestFinished }) => {
    const w = await openWorld();
    onTestFinished(() => w.close());
    const browser = await launchBrowser();
    onTestFinished(() => browser.close());
    const page = await browser.newPage();
    // With the token: without it no titles are shown, and the titles distinguish the turns.
    await page.goto(w.link);
    await page.locator('#live[data-live="live"]').waitFor();
    const healths = ['busy', 'retrying', 'waiting', 'delegating', 'stuck'] as const;
    const change = (turn: number) => {
      for (let i = 0; i < 500; i += 1) {
        const health = healths[(i + turn) % healths.length]!;
        w.health(`ses_${i}`, health, {
          title: `Session ${i}, turn ${turn}`,
          directory: `/p/${i % 9}`,
        });
      }
    };
    change(0);
    await waitFor(async () => (await page.locator('#rows tr[data-id]').count()) === 500, {
      interval: 50,
    });
    await page.evaluate(`
    window.worst = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) window.worst = Math.max(window.worst, duration);
    }).observe({ entryTypes: ['longtask'] });
  `);
    for (let turn = 1; turn <= 5; turn += 1) {
      change(turn);
      // All rows, the first and the last included, have the new title.
      await waitFor(
        async () =>
          (await page.locator('#rows .title', { hasText: `turn ${turn}` }).count()) === 500,
        { interval: 50 },
      );
    }
    const worst = await page.evaluate<number>('window.worst');
    console.log(`500 sessions, all changed at once: longest task ${Math.round(worst)} ms`);
    // A shared machine without a graphics card. On a desktop it is a fifth of that.
    expect(worst).toBeLessThan(1_000);
    await page.getByPlaceholder('Search').fill('session 499');
    await waitFor(async () => (await page.locator('#rows tr[data-id]:visible').count()) === 1, {
      interval: 20,
    });
    await page.getByPlaceholder('Search').fill('');
    await page.getByRole('button', { name: /100 stuck/ }).click();
    await waitFor(async () => (await page.locator('#rows tr[data-id]:visible').count()) === 100, {
      interval: 20,
    });
  },
);

test.skipIf(NO_BROWSER !== '').each([200, 500])(
  `axe finds nothing with %i sessions, in forced colours and on a phone${NO_BROWSER}`,
  async (amount) => {
    const w = await openWorld();
    const browser = await launchBrowser();
    try {
      for (let i = 0; i < amount; i += 1) {
        const health = i % 7 === 0 ? 'stuck' : i % 5 === 0 ? 'waiting' : 'busy';
        w.health(`ses_${i}`, health, { title: `Session ${i}`, directory: `/p/${i % 9}` });
      }
      for (const look of [
        { viewport: { width: 1440, height: 900 }, forcedColors: 'active' },
        { viewport: { width: 390, height: 844 }, colorScheme: 'dark' },
      ] as const) {
        const page = await (await browser.newContext(look)).newPage();
        await page.goto(w.link);
        await page.locator('#live[data-live="live"]').waitFor();
        await waitFor(async () => (await page.locator('#rows tr[data-id]').count()) === amount, {
          interval: 50,
        });
        expect(await axeFindings(page)).toEqual([]);
        const tops = await page.evaluate<number[]>(
          "['incidents', 'rows'].map((id) => document.getElementById(id).getBoundingClientRect().top)",
        );
        // Incidents are beside the sessions or above them, never below all of them.
        expect(tops[0]).toBeLessThanOrEqual(tops[1] ?? 0);
      }
    } finally {
      await browser.close();
      await w.close();
    }
  },
);
