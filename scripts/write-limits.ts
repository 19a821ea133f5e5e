/** Writes docs/limits.md (`npm run docs`). */
import { writeFileSync } from 'node:fs';
import { limitsPage } from './limits-page.js';

writeFileSync(new URL('../docs/limits.md', import.meta.url), await limitsPage());
