/** `config`: prints the effective configuration with where each value came from; `--check` only validates. */
import { explainJson, explainText } from '../config/explain.js';
import { ConfigError } from '../config/problem.js';
import { trust } from './config-trust.js';
import { refuseUnknownEvents } from './notify.js';
import {
  type ConfigOptions,
  complain,
  EXIT,
  ExitError,
  loadForCommand,
  print,
  printJson,
} from './shared.js';

export interface ConfigCommandOptions extends ConfigOptions {
  check?: boolean;
  /** Print only what some source sets. */
  changed?: boolean;
  json?: boolean;
}

export async function config(
  [word, file]: readonly string[],
  options: ConfigCommandOptions,
): Promise<number> {
  if (word === 'trust') return trust(file);
  if (word !== undefined) {
    throw new ExitError(EXIT.usage, `config "${word}": expected nothing, or trust [FILE]`);
  }
  try {
    const loaded = loadForCommand(options);
    refuseUnknownEvents(loaded);
    if (options.check && options.json) printJson({ ok: true, file: loaded.file ?? null });
    else if (options.check) {
      complain(`the configuration is good (file: ${loaded.file ?? 'none, defaults only'})`);
    } else if (options.json) printJson(explainJson(loaded, options.changed));
    else print(explainText(loaded, options.changed));
    return EXIT.done;
  } catch (error) {
    if (!(error instanceof ConfigError && options.json)) throw error;
    printJson({ ok: false, problems: error.problems });
    return EXIT.usage;
  }
}
