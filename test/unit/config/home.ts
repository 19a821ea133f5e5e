/** A temporary directory that is working directory and home at once, so that no file of the machine is found. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type LoadOptions, loadConfig } from '../../../src/config/load.js';
import { ConfigError } from '../../../src/config/problem.js';

export class ConfigHome {
  readonly dir = mkdtempSync(join(tmpdir(), 'watchdog-config-'));

  write(name: string, content: string | Uint8Array): string {
    const path = join(this.dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  }

  /** The working directory's file is trusted, and modes are no matter, unless a test says otherwise. */
  load(options: Omit<LoadOptions, 'cwd'> = {}) {
    const env = { HOME: this.dir, ...options.env };
    return loadConfig({
      isTrusted: () => true,
      strictModes: false,
      ...options,
      env,
      cwd: this.dir,
    });
  }

  /** The lines of the problems, the directory's name replaced by `~`. */
  problems(options: Parameters<ConfigHome['load']>[0] = {}): string[] {
    try {
      this.load(options);
      return [];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.message
        .replaceAll(this.dir, '~')
        .split('\n')
        .slice(1)
        .map((line) => line.trim().replace(/ {2,}/g, ' | '));
    }
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
