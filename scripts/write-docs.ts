// Writes the generated documents from the built sources: docs/log-events.md, and the key tables of docs/configuration.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { updateConfigurationPage } from '../dist/config/docs.js';
import { logEventsPage } from '../dist/telemetry/catalogue/docs.js';

const page = (name) => new URL(`../docs/${name}`, import.meta.url);

writeFileSync(page('log-events.md'), logEventsPage());
writeFileSync(
  page('configuration.md'),
  updateConfigurationPage(readFileSync(page('configuration.md'), 'utf8')),
);
