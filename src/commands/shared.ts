/** What every command needs: the common options, the configuration, and errors turned into exit codes. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Flag, type LoadedConfig, loadConfig, type Untrusted } from '../config/load.js';
import { ConfigError } from '../config/problem.js';
import { NEED_NO_TRUST } from '../config/trust.js';
import { printable, printableJson } from '../lib/printable.js';
import { createRedactor } from '../lib/redaction.js';
import { jsonForm } from './json-form.js';
import { whyUnwritten, writeAll } from './output.js';

/** Contract, "Command line". */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  unauthorized: 4,
  gaveUp: 5,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends a command with this code; the message goes to stderr. */
export class ExitError extends Error {
  override readonly name = 'ExitError';
  readonly code: ExitCode;

  constructor(code: ExitCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The options that every command takes (contract, "Command line"). */
export interface CommonOptions {
  config?: string | undefined;
  url?: string | undefined;
  profile?: string | undefined;
}

/**
 * The common ones of a command's options. Of the others some have the name of a key and mean something else, such as
 * the `--directory` of a session.
 */
export function commonOf({ config, url, profile }: CommonOptions): CommonOptions {
  return { config, url, profile };
}

/** The options of the command line that set a key of the configuration, as commander names them. */
export interface ConfigOptions extends CommonOptions {
  control?: string;
  directory?: string;
  dryRun?: boolean;
  logLevel?: string;
  logFormat?: string;
}

const FLAGS: readonly { option: keyof ConfigOptions; flag: string; key: string }[] = [
  { option: 'url', flag: '--url', key: 'server.url' },
  { option: 'profile', flag: '--profile', key: 'profile' },
  { option: 'control', flag: '--control', key: 'server.control' },
  { option: 'directory', flag: '--directory', key: 'server.directory' },
  { option: 'dryRun', flag: '--dry-run', key: 'dryRun' },
  { option: 'logLevel', flag: '--log-level', key: 'log.level' },
  { option: 'logFormat', flag: '--log-format', key: 'log.format' },
];

/**
 * The configuration for a command that only reads: keys that need trust are left out, with a message. The status token
 * is not read.
 * @throws ConfigError, which `exitCodeOf` turns into exit code 2
 */
export function loadForCommand(options: ConfigOptions): LoadedConfig {
  const loaded = load(options, { token: false });
  for (const warning of loaded.warnings) complain(warning);
  if (loaded.untrusted !== undefined) complain(leftOut(loaded.untrusted));
  return loaded;
}

/**
 * The configuration for a command that acts. What needs trust is asked about on a terminal, and refused elsewhere.
 * @throws ConfigError and ExitError, both with exit code 2
 */
export async function loadToAct(
  options: ConfigOptions,
  { token = false }: { token?: boolean } = {},
): Promise<LoadedConfig> {
  let loaded = load(options, { token });
  if (loaded.untrusted !== undefined) {
    const { askForTrust } = await import('./ask-trust.js');
    if (await askForTrust(loaded.untrusted)) loaded = load(options, { token });
  }
  for (const warning of loaded.warnings) complain(warning);
  return trusted(loaded);
}

/** The changed configuration of a running daemon. @throws ConfigError and ExitError if the present one must stay */
export function loadAgain(options: ConfigOptions): LoadedConfig {
  return trusted(load(options, { token: true }));
}

function load(options: ConfigOptions, { token }: { token: boolean }): LoadedConfig {
  const flags: Flag[] = FLAGS.flatMap(({ option, flag, key }) => {
    const value = options[option];
    return value === undefined ? [] : [{ key, flag, value }];
  });
  return loadConfig({ file: options.config, flags, token });
}

function trusted(loaded: LoadedConfig): LoadedConfig {
  if (loaded.untrusted === undefined) return loaded;
  throw new ExitError(EXIT.usage, whyRefused(loaded.untrusted));
}

/** Why an act is refused, and what to do. */
function whyRefused({ file, keys }: Untrusted): string {
  return `${file} sets ${namesOf(keys)}: expected only ${NEED_NO_TRUST.join(', ')} in a file of the working directory that is not trusted. Look at it; if it is yours: opencode-watchdog config trust`;
}

function leftOut({ file, keys }: Untrusted): string {
  return `${file} is not trusted, so ${namesOf(keys)} of it ${keys.length === 1 ? 'is' : 'are'} left out (opencode-watchdog config trust)`;
}

function namesOf(keys: Untrusted['keys']): string {
  return keys.map(({ key }) => key).join(', ');
}

/** Prints to stderr what went wrong, with `json` also to stdout (docs/json.md), and returns the exit code for it. */
export function exitCodeOf(error: unknown, { json = false } = {}): ExitCode {
  // What a command has printed already is its answer, and one document is all that a script reads.
  if (json && !hasPrinted) {
    const says = error instanceof Error ? error.message : String(error);
    printJsonLine({ ok: false, error: redactor.text(says, COMPLAINT_CHARS) });
  }
  if (error instanceof ConfigError) {
    complain(error.message);
    return EXIT.usage;
  }
  if (error instanceof ExitError) {
    complain(error.message);
    return error.code;
  }
  // This is a bug: a report needs the stack.
  complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return EXIT.failed;
}

/** Masks what looks like a secret: an error may repeat a server's words, or a URL that somebody typed. */
const redactor = createRedactor([]);
const COMPLAINT_CHARS = 65_536;

export function complain(message: string): void {
  const words = printable(redactor.text(message, COMPLAINT_CHARS), 'block');
  process.stderr.write(`opencode-watchdog: ${words}\n`);
}

/** Prints text for people to stdout, without what is not printable. */
export function print(text: string): void {
  write(printable(text, 'block'));
}

/** Prints lines that are printable already, with colours of our own. */
export function printPainted(text: string): void {
  write(text);
}

export function printJson(value: unknown): void {
  write(printableJson(JSON.stringify(jsonForm(value), null, 2)));
}

/** NDJSON. */
export function printJsonLine(value: unknown): void {
  write(printableJson(JSON.stringify(jsonForm(value))));
}

/**
 * Writes a model's reply: exactly as it is for a program; for a terminal, without what a terminal would obey.
 * @throws ExitError with code 1
 */
export function deliverReply(text: string): Promise<void> {
  return deliver(process.stdout.isTTY ? printable(text, 'block') : text);
}

/** @throws ExitError with code 1 */
export function deliverJson(value: unknown): Promise<void> {
  return deliver(printableJson(JSON.stringify(jsonForm(value), null, 2)));
}

/** Writes a model's answer in a form that the caller chose: no value of it is changed. @throws ExitError with code 1 */
export function deliverStructured(value: unknown): Promise<void> {
  return deliver(printableJson(JSON.stringify(value, null, 2)));
}

/** NDJSON. @throws ExitError with code 1 */
export function deliverJsonLine(value: unknown): Promise<void> {
  return deliver(printableJson(JSON.stringify(jsonForm(value))));
}

/**
 * Writes a result, and settles when stdout has taken it. If stdout cannot take it, it goes to stderr, so that it is not
 * lost.
 * @throws ExitError with code 1 in that case
 */
async function deliver(text: string): Promise<void> {
  guardOutput();
  hasPrinted = true;
  const lines = text.endsWith('\n') ? text : `${text}\n`;
  const error = await writeAll(process.stdout, lines);
  if (error === undefined) return;
  isOutputTold = true;
  process.stderr.write(lines);
  throw new ExitError(
    EXIT.failed,
    `the output cannot be written (${whyUnwritten(error)}): the result is above, on stderr.`,
  );
}

/**
 * Listens to the errors of the output streams: without listeners they would end the process in the middle of its work.
 */
export function guardOutput(): void {
  if (isGuarded) return;
  isGuarded = true;
  process.stdout.on('error', complainOfOutput);
  // There is nobody left to tell.
  process.stderr.on('error', () => {});
}

let isGuarded = false;
/** Something was written to stdout. */
let hasPrinted = false;
/** The person has been told already that the output cannot be written. */
let isOutputTold = false;

/** If the reader goes away (`… | head`), that ends the output, not the command. */
function complainOfOutput(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE' || isOutputTold) return;
  isOutputTold = true;
  complain(`the output cannot be written (${whyUnwritten(error)}).`);
  process.exitCode = EXIT.failed;
}

function write(text: string): void {
  guardOutput();
  hasPrinted = true;
  const line = text.endsWith('\n') ? text : `${text}\n`;
  void writeAll(process.stdout, line).then((error) => {
    if (error) complainOfOutput(error);
  });
}

/** Reads package.json, which is beside both `src/` and `dist/`. */
export function packageVersion(): string {
  const content: unknown = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  );
  return typeof content === 'object' &&
    content !== null &&
    'version' in content &&
    typeof content.version === 'string'
    ? content.version
    : 'unknown';
}

/** Where the documents begin. The image has none. */
export function documentsHint(): string {
  const index = fileURLToPath(new URL('../../docs/index.md', import.meta.url));
  return existsSync(index) ? ` The documents: ${index}` : '';
}
