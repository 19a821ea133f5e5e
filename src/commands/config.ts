/** `config`: prints the effective configuration with where each value came from; `--check` only validates. */
import { explainJson, explainText } from '../config/explain.js';
import { ConfigError } from '../config/problem.js';
import { type ConfigOptions, complain, EXIT, loadForCommand, print, printJson } from './shared.js';

export interface ConfigCommandOptions extends ConfigOptions {
  check?: boolean;
  json?: boolean;
}

export async function config(options: ConfigCommandOptions): Promise<number> {
  try {
    const loaded = loadForCommand(options);
    if (options.check && options.json) printJson({ ok: true, file: loaded.file ?? null });
    else if (options.check) {
      complain(`the configuration is good (file: ${loaded.file ?? 'none, defaults only'})`);
    } else if (options.json) printJson(explainJson(loaded));
    else print(explainText(loaded));
    return EXIT.done;
  } catch (error) {
    if (!(error instanceof ConfigError && options.json)) throw error;
    printJson({ ok: false, problems: error.problems });
    return EXIT.usage;
  }
}
