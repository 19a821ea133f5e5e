import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../../src/config/load.js';

const deploy = fileURLToPath(new URL('../../../deploy/', import.meta.url));
const dclint = join(
  dirname(createRequire(import.meta.url).resolve('dclint/package.json')),
  'bin/dclint.cjs',
);
const FILES = ['compose.yaml', 'compose.docker-socket.yaml'];
/** dclint's rule that holds a file against the published schema of the Compose specification; the others are taste. */
const SCHEMA_RULE = 'invalid-schema';

interface Service {
  environment?: Record<string, string>;
  [key: string]: unknown;
}

function schemaErrors(file: string): Promise<string[]> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [dclint, '--formatter', 'json', file], (_error, stdout, stderr) => {
      try {
        const results = JSON.parse(stdout) as { messages: { rule: string; message: string }[] }[];
        const said = results.flatMap(({ messages }) => messages);
        resolve(said.filter(({ rule }) => rule === SCHEMA_RULE).map(({ message }) => message));
      } catch (cause) {
        reject(new Error(`dclint: ${stdout}${stderr}`, { cause }));
      }
    });
  });
}

const services = (file: string) =>
  (parse(readFileSync(join(deploy, file), 'utf8')) as { services: Record<string, Service> })
    .services;

describe.each(FILES)('deploy/%s', (file) => {
  it('fits the published schema of the Compose specification', async () => {
    expect(await schemaErrors(join(deploy, file))).toEqual([]);
  });

  it('names the image by a variable, and builds nothing that the package has not', () => {
    const { pod: _, ...built } = services(file);
    for (const [name, { image, build }] of Object.entries(built)) {
      expect(build).toBe(name === 'opencode' ? './opencode' : undefined);
      const ours = /^\$\{OPENCODE_WATCHDOG_IMAGE:-opencode-watchdog\}$/;
      expect(image).toMatch(name === 'watchdog' ? ours : /^opencode$/);
    }
  });

  it('gives the watchdog a configuration that it takes', () => {
    const env = services(file).watchdog?.environment ?? {};
    const folder = mkdtempSync(join(tmpdir(), 'compose-'));
    try {
      const password = join(folder, 'password');
      writeFileSync(password, 'secret-word\n');
      const { config } = loadConfig({
        env: { ...env, OPENCODE_WATCHDOG_SERVER_PASSWORDFILE: password },
        cwd: folder,
      });
      expect(['external', 'docker']).toContain(config.server.control);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('runs the watchdog read-only, without capabilities, and always again', () => {
    expect(services(file).watchdog).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      restart: 'always',
    });
  });
});

describe('deploy/compose.build.yaml', () => {
  it('adds to compose.yaml the build of its image, from a clone of the repository', async () => {
    expect(await schemaErrors(join(deploy, 'compose.build.yaml'))).toEqual([]);
    expect(services('compose.build.yaml')).toEqual({ watchdog: { build: '..' } });
    expect(existsSync(join(deploy, '../Dockerfile'))).toBe(true);
  });
});

describe('deploy/compose.yaml', () => {
  it('shares the namespaces of a container that nobody restarts, and that has an init', () => {
    const { pod, opencode, watchdog } = services('compose.yaml');
    for (const service of [opencode, watchdog]) {
      expect(service).toMatchObject({ pid: 'service:pod', network_mode: 'service:pod' });
    }
    expect(pod).toMatchObject({ init: true });
  });

  // Compose replaces a container whose image is another one, and with `pod` goes the first process of opencode's namespace.
  it('has no container below the two with an image that an upgrade of one of them changes', () => {
    const { pod, ...joined } = services('compose.yaml');
    expect(pod?.image).toMatch(/^docker\.io\/library\/busybox:\d+\.\d+\.\d+$/);
    expect(pod).not.toHaveProperty('build');
    for (const each of Object.values(joined)) {
      expect(each.depends_on).toEqual(['pod']);
      expect(each.image).not.toBe(pod?.image);
    }
    expect(JSON.stringify([pod, joined.opencode])).not.toContain('OPENCODE_WATCHDOG');
  });

  it('is upgraded without what the watchdog depends on', () => {
    const page = readFileSync(new URL('../../../docs/upgrade.md', import.meta.url), 'utf8');
    const commands = page.match(/docker compose [^`\n]*\bup\b[^`\n]*/g);
    expect(commands).toEqual(
      ['watchdog', 'opencode'].map((name) => `docker compose up -d --no-deps ${name}`),
    );
  });
});

it('is a schema that refuses what is wrong', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'compose-'));
  try {
    const file = join(folder, 'compose.yaml');
    writeFileSync(file, 'services:\n  one:\n    image: x\n    restrat: always\n');
    expect(await schemaErrors(file)).not.toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
