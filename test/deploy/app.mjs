/** What is deployed: the packed tarball, the opencode binary of this machine's architecture, the fake provider. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { must } from './shell.mjs';

export const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

/** `npm pack` of a folder; the path of the tarball. */
export async function pack(into, folder = PROJECT) {
  rmSync(into, { recursive: true, force: true });
  mkdirSync(into, { recursive: true });
  const args = ['pack', '--silent', '--ignore-scripts', '--pack-destination', into];
  await must('npm', args, { cwd: folder });
  return join(into, readdirSync(into).find((name) => name.endsWith('.tgz')) ?? '');
}

/** The real opencode that is a development dependency, without npm's wrapper; undefined where it is not installed. */
export function opencodeBinary() {
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
  const file = join(PROJECT, `node_modules/opencode-linux-${arch}/bin/opencode`);
  return existsSync(file) ? file : undefined;
}

/** The fake provider as one file. */
export async function bundleProvider(outfile) {
  const args = [
    '--bundle',
    '--platform=node',
    '--format=esm',
    '--log-level=warning',
    `--outfile=${outfile}`,
  ];
  await must(join(PROJECT, 'node_modules/.bin/esbuild'), [
    join(PROJECT, 'test/deploy/provider.ts'),
    ...args,
  ]);
}
