/** Debian's Chromium, driven without its own downloads; a test names its skip where it is not installed. */
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

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
