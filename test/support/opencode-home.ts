/**
 * An isolated home for a real opencode, with its own folders, configuration and command. It uses nothing of the user's.
 */
import { statSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { killAll, processesWithEnv } from './processes.js';

export interface HomeOptions {
  /** The `permission` of opencode.json, e.g. `{ bash: 'ask' }`. */
  permission?: Record<string, unknown>;
  /** Further keys for opencode.json. */
  config?: Record<string, unknown>;
  /** Further models of the provider `fake`, by id, as opencode.json has them: `{ paid: { cost: { input: 3, output: 15 } } }`. */
  models?: Record<string, Record<string, unknown>>;
  /** Further providers with the models `m1` and `m2`, by id, with the URL that answers for them. */
  providers?: Record<string, { url: string }>;
  /** `opencode` is a Node wrapper like npm's, and the server is its child. */
  viaWrapper?: boolean;
}

export interface Home {
  path: string;
  /** An empty project folder to work in. */
  directory: string;
  /** The `opencode` command. Its folder is also first in the `PATH` of `opencodeEnv`. */
  command: string;
  /** Makes a further project folder. */
  project(name: string): Promise<string>;
  /** Every living process that was started in this home. */
  processes(): number[];
  /** Kills every process of this home, and removes it. */
  remove(): Promise<void>;
}

const packages = fileURLToPath(new URL('../../node_modules/', import.meta.url));

/** The real opencode binary. `$OPENCODE_TEST_BIN` runs the tests against another version. */
export function binary(): string {
  const candidates = process.env.OPENCODE_TEST_BIN
    ? [process.env.OPENCODE_TEST_BIN]
    : [
        join(packages, 'opencode-ai/bin/opencode.exe'),
        join(packages, `opencode-${process.platform}-${process.arch}/bin/opencode`),
      ];
  // If its postinstall script has not run, the first is a stub of a few bytes.
  const found = candidates.find((file) => (sizeOf(file) ?? 0) > 1_000_000);
  if (!found) throw new Error(`no opencode binary: none of ${candidates.join(', ')} is one`);
  return found;
}

const sizeOf = (file: string) => statSync(file, { throwIfNoEntry: false })?.size;

const dataHome = (path: string) => join(path, 'data');

/**
 * opencode's catalogue of models, here with one model of a provider that is not connected. opencode's own catalogue has
 * thousands, which took half of the CPU time of a directory's first prompt.
 */
const catalogue = (path: string) => join(path, 'models.json');
const CATALOGUE = {
  anthropic: {
    id: 'anthropic',
    name: 'Anthropic',
    env: ['ANTHROPIC_API_KEY'],
    npm: '@ai-sdk/anthropic',
    models: {
      'claude-sonnet-4-5': {
        id: 'claude-sonnet-4-5',
        name: 'Claude Sonnet 4.5',
        release_date: '2025-09-29',
        attachment: true,
        reasoning: true,
        temperature: true,
        tool_call: true,
        cost: { input: 3, output: 15 },
        limit: { context: 200_000, output: 64_000 },
      },
    },
  },
};

/** The environment in which any process, a watchdog included, finds this opencode and this home. */
export function opencodeEnv(path: string): Record<string, string> {
  return {
    PATH: [join(path, 'bin'), process.env.PATH ?? ''].join(delimiter),
    LANG: 'C.UTF-8',
    HOME: path,
    TMPDIR: join(path, 'tmp'),
    XDG_CONFIG_HOME: join(path, 'config'),
    XDG_DATA_HOME: dataHome(path),
    XDG_STATE_HOME: join(path, 'state'),
    XDG_CACHE_HOME: join(path, 'cache'),
    OPENCODE_DISABLE_AUTOUPDATE: '1',
    OPENCODE_DISABLE_MODELS_FETCH: '1',
    OPENCODE_MODELS_PATH: catalogue(path),
    OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
    OPENCODE_DISABLE_DEFAULT_PLUGINS: '1',
  };
}

/** Makes a home whose models `fake/m1`, `fake/m2` and `fake2/m1` are answered by `provider`. */
export async function prepareHome(
  provider: { url: string },
  { permission, config, models = {}, providers = {}, viaWrapper = false }: HomeOptions = {},
): Promise<Home> {
  const path = await realpath(await mkdtemp(join(tmpdir(), 'opencode-home-')));
  const project = async (name: string) => {
    await mkdir(join(path, name), { recursive: true });
    return join(path, name);
  };
  for (const folder of ['bin', 'tmp', 'config/opencode', 'data', 'state', 'cache']) {
    await project(folder);
  }
  const fake = (
    name: string,
    ids: string[],
    more: Record<string, object> = {},
    baseURL = provider.url,
  ) => ({
    npm: '@ai-sdk/openai-compatible',
    name,
    options: { baseURL, apiKey: 'x' },
    models: { ...Object.fromEntries(ids.map((id) => [id, { name: id }])), ...more },
  });
  const settings = {
    model: 'fake/m1',
    autoupdate: false,
    share: 'disabled',
    provider: {
      fake: fake('fake', ['m1', 'm2'], models),
      fake2: fake('fake2', ['m1']),
      ...Object.fromEntries(
        Object.entries(providers).map(([id, { url }]) => [id, fake(id, ['m1', 'm2'], {}, url)]),
      ),
    },
    ...(permission && { permission }),
    ...config,
  };
  await writeFile(join(path, 'config/opencode/opencode.json'), JSON.stringify(settings, null, 2));
  await writeFile(catalogue(path), JSON.stringify(CATALOGUE));

  const command = join(path, 'bin/opencode');
  if (viaWrapper) await writeFile(command, wrapper(binary()));
  else await symlink(binary(), command);
  if (viaWrapper) await chmod(command, 0o755);

  const processes = () => processesWithEnv(`XDG_DATA_HOME=${dataHome(path)}`);
  return {
    path,
    command,
    project,
    processes,
    directory: await project('project'),
    remove: async () => {
      await killAll(processes, `the processes of ${path}`);
      await rm(path, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Like npm's `opencode-ai`, the wrapper waits for its child and passes no signal on. */
const wrapper = (target: string) => `#!/usr/bin/env node
const { spawnSync } = require('node:child_process');
const child = spawnSync(${JSON.stringify(target)}, process.argv.slice(2), { stdio: 'inherit' });
process.exit(child.status ?? 1);
`;
