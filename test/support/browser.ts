/**
 * Drives Debian's Chromium, without Playwright's own downloads. Tests that need it are skipped if it is not installed,
 * and say so in their names.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Browser, chromium, type Page } from 'playwright-core';

const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';

/** Empty if Chromium is installed; otherwise the words that a skipped test's name ends with. */
export const NO_BROWSER = existsSync(CHROMIUM) ? '' : ` (skipped: ${CHROMIUM} is not installed)`;

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM,
    // Without these flags Chromium looks up Google's hosts at every start.
    args: '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync'.split(
      ' ',
    ),
  });
}

/** What axe finds on the page in its present state, one line for each finding. */
export async function axeFindings(page: Page): Promise<string[]> {
  const source = readFileSync(
    createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
    'utf8',
  );
  // Passed as text: the page's types are not Node's, and the page's policy allows no injected scripts.
  await page.evaluate(source);
  return page.evaluate<string[]>(
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is a template of the page's own script
    'axe.run(document).then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 120)} ${failureSummary}`)))',
  );
}
