/** `config trust [FILE]`: trusts a file with its present content, so that it counts even in the working directory. */
import { resolve } from 'node:path';
import { readConfigFile, workingDirectoryFile } from '../config/file.js';
import { ConfigError } from '../config/problem.js';
import { needsTrust, trustFile } from '../config/trust.js';
import { complain, EXIT, ExitError } from './shared.js';

export function trust(file: string | undefined): number {
  const path = file === undefined ? workingDirectoryFile(process.cwd()) : resolve(file);
  const { digest, entries, problems } = readConfigFile({ path });
  if (digest === undefined || problems.length > 0) throw new ConfigError(problems);
  try {
    trustFile(process.env, path, digest);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ExitError(EXIT.failed, `${path} cannot be trusted: ${why}`);
  }
  const keys = entries.map((entry) => entry.path).filter(needsTrust);
  const sets = keys.length === 0 ? 'nothing that needs trust' : keys.join(', ');
  complain(`${path} is trusted as it is now (sha256 ${digest.slice(0, 12)}…); it sets ${sets}`);
  return EXIT.done;
}
