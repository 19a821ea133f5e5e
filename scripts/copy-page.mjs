// Copies the status page's files beside the built endpoint: tsc takes TypeScript only.
import { cpSync } from 'node:fs';

const page = (root) => new URL(`../${root}/telemetry/page/`, import.meta.url);

cpSync(page('src'), page('dist'), { recursive: true });
