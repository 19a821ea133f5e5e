/** Debian's Chromium, driven without its own downloads; a test names its skip where it is not installed. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Browser, chromium, type Page } from 'playwright-core';

const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';

/** Empty where there is one; else words for a test's name. */
export const NO_BROWSER = existsSync(CHROMIUM) ? '' : ` (skipped: ${CHROMIUM} is not installed)`;

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM,
    // Without these it looks up Google's hosts at every start.
    args: '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync'.split(
      ' ',
    ),
  });
}

/** What axe finds on the page as it is now, a line each. */
export async function axeFindings(page: Page): Promise<string[]> {
  const source = readFileSync(
    createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
    'utf8',
  );
  // As text: the page's own types are not those of Node, and its policy lets no script in.
  await page.evaluate(source);
  return page.evaluate<string[]>(
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is a template of the page's own script
    'axe.run(document).then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 120)} ${failureSummary}`)))',
  );
}
