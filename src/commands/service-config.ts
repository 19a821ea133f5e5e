/** Which configuration file a service reads, and what of the shell of `service install` it does not see. */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { findConfigFile } from '../config/file.js';
import { configFileOf, hiddenFromSystem, MARK, SYSTEM_USER } from './service-files.js';
import { type ConfigOptions, complain, EXIT, ExitError } from './shared.js';

export type ConfigChoice = Pick<ConfigOptions, 'config' | 'url' | 'profile'>;

export interface ConfigPlace {
  system: boolean;
  unitFile: string;
  /** The file that the service reads if nothing else was ever chosen. */
  configFile: string;
}

/**
 * The file of `--config`, else the one of the installed unit, else the usual one. Says which file of this shell the
 * service does not read.
 * @throws ExitError for what would be lost silently
 */
export function chooseConfigFile(place: ConfigPlace, choice: ConfigChoice): string {
  const { config } = choice;
  const file = config === undefined ? namedBefore(place) : resolve(process.cwd(), config);
  refuseLost(choice, file);
  if (config !== undefined && !existsSync(file)) {
    throw new ExitError(EXIT.usage, `--config ${config}: expected a file that is there`);
  }
  if (place.system && hiddenFromSystem([file]).length > 0) {
    throw new ExitError(
      EXIT.usage,
      `--config ${file}: it is in somebody's home, which the account "${SYSTEM_USER}" cannot read. Copy it to ${place.configFile}`,
    );
  }
  const ofShell = fileOfShell();
  if (ofShell !== undefined && ofShell !== file) {
    complain(`${ofShell} is not read by the service: copy it to ${file}, or name it by --config`);
  }
  return file;
}

/** The file that the installed unit or agent names: a second install, after an update for example, keeps it. */
export function namedBefore({ unitFile, configFile }: ConfigPlace): string {
  const text = existsSync(unitFile) ? readFileSync(unitFile, 'utf8') : '';
  return (text.includes(MARK) ? configFileOf(text) : undefined) ?? configFile;
}

/** A command without `--config` does not find a file that is none of the usual ones. */
export function configHint(file: string): string[] {
  if (fileOfShell() === file) return [];
  return [`Its configuration: ${file} (the commands need it too: --config)`];
}

const fileOfShell = (): string | undefined =>
  findConfigFile(undefined, process.env, process.cwd())?.path;

function refuseLost({ url, profile }: ConfigChoice, file: string): void {
  const refuse = (flag: string, line: string) => {
    throw new ExitError(
      EXIT.usage,
      `${flag}: the service reads nothing but its configuration file. Put this line into ${file}: ${line}`,
    );
  };
  if (url !== undefined) refuse('--url', `server: { url: ${JSON.stringify(url)} }`);
  if (profile !== undefined) refuse('--profile', `profile: ${JSON.stringify(profile)}`);
}
