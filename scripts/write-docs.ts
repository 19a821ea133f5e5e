/** Writes the generated documents: docs/log-events.md, and the key tables of docs/configuration.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { updateConfigurationPage } from '../src/config/docs.js';
import { logEventsPage } from '../src/telemetry/catalogue/docs.js';

const page = (name: string) => new URL(`../docs/${name}`, import.meta.url);

writeFileSync(page('log-events.md'), logEventsPage());
writeFileSync(
  page('configuration.md'),
  updateConfigurationPage(readFileSync(page('configuration.md'), 'utf8')),
);
