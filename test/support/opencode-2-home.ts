/** A home with the fake OpenCode 2 as the program `opencode`. `clear` leaves nothing of it behind. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { freePort } from './ports.js';
import { isAlive, killAll, processesWithEnv } from './processes.js';

const PROGRAM = fileURLToPath(new URL('opencode-2-program.ts', import.meta.url));

export class Opencode2Home {
  readonly dir = mkdtempSync(join(tmpdir(), 'watchdog-opencode-2-'));
  /** Its `opencode` command. */
  readonly program = join(this.dir, 'bin/opencode');
  readonly directory = join(this.dir, 'project');

  private constructor(readonly port: number) {
    mkdirSync(this.directory, { recursive: true });
    buildSync({
      entryPoints: [PROGRAM],
      outfile: this.program,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      banner: { js: '#!/usr/bin/env node' },
    });
    chmodSync(this.program, 0o755);
  }

  static async make(): Promise<Opencode2Home> {
    return new Opencode2Home(await freePort());
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Every process that is started with this environment can be found by `HABITAT`. */
  env(more: Record<string, string> = {}): Record<string, string> {
    return {
      PATH: `${join(this.dir, 'bin')}:${dirname(process.execPath)}:${process.env.PATH ?? ''}`,
      HOME: this.dir,
      XDG_STATE_HOME: join(this.dir, 'state'),
      XDG_CONFIG_HOME: join(this.dir, 'config'),
      XDG_DATA_HOME: join(this.dir, 'data'),
      HABITAT: this.dir,
      FAKE2_SERVICE_PORT: String(this.port),
      ...more,
    };
  }

  registration(channel = ''): { id: string; pid: number; password: string; url: string } {
    const file = join(this.dir, `state/opencode/service${channel}.json`);
    return JSON.parse(readFileSync(file, 'utf8'));
  }

  processes(): number[] {
    return processesWithEnv(`HABITAT=${this.dir}`).filter(isAlive);
  }

  async clear(): Promise<void> {
    await killAll(() => this.processes(), 'the home of OpenCode 2');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A client of the fake's API, which logs in as `opencode`. */
export function askOpencode2(url: string, password: string) {
  const headers = {
    authorization: `Basic ${btoa(`opencode:${password}`)}`,
    'content-type': 'application/json',
  };
  return async (path: string, body?: unknown): Promise<{ status: number; json: unknown }> => {
    const request = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    const answer = await fetch(`${url}${path}`, { headers, ...request });
    const text = await answer.text();
    return { status: answer.status, json: text === '' ? undefined : JSON.parse(text) };
  };
}
