import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));

async function packed(): Promise<string[]> {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts', '--loglevel=error'];
  const { stdout } = await promisify(execFile)('npm', args, { cwd: root, maxBuffer: 2 ** 24 });
  const [tarball] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  return tarball.files.map(({ path }) => path);
}

describe('package.json', () => {
  it('has installed what a reader expects of the project, and nothing that is in the bundle alone', () => {
    const { dependencies, devDependencies } = JSON.parse(
      readFileSync(join(root, 'package.json'), 'utf8'),
    ) as Record<'dependencies' | 'devDependencies', Record<string, string>>;
    const named = ['eventsource', 'node-cron', 'pino', 'ps-list', 'tree-kill', 'undici'];
    expect(Object.keys(dependencies)).toEqual(named);
    expect(Object.keys(devDependencies)).toContain('vitest');
  });
});

describe('the tarball that npm publishes', () => {
  let files: string[];
  beforeAll(async () => {
    files = await packed();
  });

  it('holds the units, the documentation and what they name', () => {
    expect(files).toEqual(
      expect.arrayContaining([
        'package.json',
        'LICENSE',
        'docs/deploy.md',
        'systemd/opencode-watchdog.service',
        'systemd/opencode-watchdog@.service',
        'systemd/user/opencode-watchdog.service',
        'systemd/pair/opencode.service',
        'systemd/pair/opencode-watchdog.service',
        'systemd/pair/50-opencode-watchdog.rules',
        'deploy/compose.yaml',
        'deploy/opencode/Dockerfile',
        'deploy/kubernetes/base/kustomization.yaml',
      ]),
    );
  });

  it('holds every file that its pages link to, apart from pictures', () => {
    const pages = files.filter((path) => path.endsWith('.md'));
    const links = pages.flatMap((page) =>
      [...readFileSync(join(root, page), 'utf8').matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !/^[a-z]+:|\.png$/.test(target))
        .map((target) => ({ page, target, path: normalize(join(page, '..', target)) })),
    );
    expect(links.length).toBeGreaterThan(100);
    expect(links.filter(({ path }) => !files.includes(path))).toEqual([]);
  });

  it('holds nothing that only developers need', () => {
    const unneeded =
      /^(src|test|bench|demo|scripts|node_modules|Dockerfile)|\.map$|\.tsbuildinfo$|\.png$/;
    expect(files.filter((path) => unneeded.test(path))).toEqual([]);
  });
});
