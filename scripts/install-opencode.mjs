#!/usr/bin/env node
/**
 * Installs given versions of opencode for tests: `node scripts/install-opencode.mjs 1.2.27 1.14.48`.
 *
 * Each goes into a folder of its own outside the repository ($OPENCODE_TEST_CACHE, else one in the system's temporary
 * folder) and is left there for the next time. Prints one line for each: the version and the path of its binary, which
 * is what $OPENCODE_TEST_BIN takes. Nothing in the packages is run, not even install scripts.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A stub of the wrapper package is a few bytes; a binary is more than 100 MB. */
const MIN_BINARY_BYTES = 1_000_000;
const INSTALL_TIMEOUT_MS = 300_000;

export const cacheFolder = () =>
  process.env.OPENCODE_TEST_CACHE ?? join(tmpdir(), 'opencode-test-versions');

/** The platform's package first: the wrapper `opencode-ai` gets its binary by a script, which we do not run. */
const packages = () => {
  const platform = `opencode-${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  return [platform, `${platform}-baseline`, 'opencode-ai'];
};

const candidates = (folder) => [
  ...packages().flatMap((name) =>
    ['opencode', 'opencode.exe'].map((file) => join(folder, 'node_modules', name, 'bin', file)),
  ),
];

async function binaryIn(folder) {
  for (const file of candidates(folder)) {
    const found = await stat(file).catch(() => undefined);
    if (found && found.size >= MIN_BINARY_BYTES) return file;
  }
  return undefined;
}

/** Returns the path of that version's binary, and installs it if it is missing. Rejects with npm's error. */
export async function installOpencode(version) {
  if (!/^\d+\.\d+\.\d+$/.test(version)) {
    throw new Error(`not a version of opencode: ${JSON.stringify(version)} (expected e.g. 1.2.27)`);
  }
  const cache = cacheFolder();
  const folder = join(cache, version);
  const there = await binaryIn(folder);
  if (there) return there;

  await mkdir(cache, { recursive: true });
  // Installed beside its place and then moved there, so that two tests that install at once never meet half a binary.
  const draft = await mkdtemp(join(cache, `.${version}-`));
  const failures = [];
  try {
    await writeFile(join(draft, 'package.json'), '{"private":true}');
    for (const name of packages()) {
      const args = ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts'];
      try {
        await run('npm', [...args, `${name}@${version}`], {
          cwd: draft,
          timeout: INSTALL_TIMEOUT_MS,
        });
      } catch (error) {
        failures.push(`${name}: ${firstError(error)}`);
        continue;
      }
      const installed = await binaryIn(draft);
      if (!installed) {
        failures.push(`${name}: it brings no binary`);
        continue;
      }
      await chmod(installed, 0o755);
      await rename(draft, folder).catch(async (error) => {
        // Another process was quicker; its binary is as good.
        if (!(await binaryIn(folder))) throw error;
      });
      const binary = await binaryIn(folder);
      if (binary) return binary;
    }
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  throw new Error(`opencode ${version} could not be installed:\n  ${failures.join('\n  ')}`);
}

function firstError(error) {
  const lines = String(error.stderr ?? error.message).split('\n');
  const telling = lines.find((line) => /npm (error|ERR!) (?!code\b)/.test(line));
  return (telling ?? lines[0] ?? '').slice(0, 200);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const versions = process.argv.slice(2);
  if (versions.length === 0) {
    console.error('usage: node scripts/install-opencode.mjs VERSION...');
    process.exit(2);
  }
  for (const version of versions) {
    try {
      console.log(`${version} ${await installOpencode(version)}`);
    } catch (error) {
      console.error(error.message);
      process.exitCode = 1;
    }
  }
}
