/**
 * `completion SHELL`: a script that completes commands, options and their values. It is made from the commands
 * themselves.
 */
import { optionsOf } from '../config/keys.js';
import { type DrivingOptions, drive, READS } from './driver-commands.js';
import { EXIT, ExitError, print } from './shared.js';

export interface CommandWords {
  name: string;
  summary: string;
  options: readonly { flag: string; summary: string; takesValue: boolean }[];
}

const SHELLS = { bash, zsh, fish };
/** How long a script may ask the server while somebody types. */
const DEADLINE_MS = 5_000;
/** Session ids that are offered: nobody chooses among more. */
const SESSIONS_OFFERED = 50;

export async function completion(
  [shell = '']: readonly string[],
  options: DrivingOptions,
  commands: readonly CommandWords[],
): Promise<number> {
  if (shell === 'models' || shell === 'sessions') return words(shell, options);
  if (!Object.hasOwn(SHELLS, shell)) {
    const known = Object.keys(SHELLS).join(', ');
    throw new ExitError(EXIT.usage, `completion "${shell}": expected one of ${known}`);
  }
  print(SHELLS[shell as keyof typeof SHELLS](commands));
  return EXIT.done;
}

/** The models or the sessions that the server has now, one a line. */
function words(kind: 'models' | 'sessions', options: DrivingOptions): Promise<number> {
  return drive(
    options,
    async ({ driver, signal: stop }) => {
      const signal = AbortSignal.any([stop, AbortSignal.timeout(DEADLINE_MS)]);
      const found =
        kind === 'models'
          ? (await driver.models({ signal })).models
          : await driver.sessions({ limit: SESSIONS_OFFERED, signal });
      print(found.map(({ id }) => id).join('\n'));
      return EXIT.done;
    },
    READS,
  );
}

/** Options that name a file or a folder are completed with files. */
const FILES = new Set([
  '--config',
  '--directory',
  '--record',
  '--output',
  '--file',
  '--schema',
  '--context',
  '--diff',
]);

/** Names of things that the server has. */
type Named = 'models' | 'sessions';
const NAMED_OPTIONS: Readonly<Record<string, Named>> = {
  '--model': 'models',
  '--fallback': 'models',
  '--from-session': 'sessions',
  '--parent': 'sessions',
};
/** Commands whose argument is a session. */
const ON_SESSIONS: ReadonlySet<string> = new Set([
  'abort',
  'delete',
  'messages',
  'send',
  'sessions',
  'wait',
]);
/** Values of options: those of the key that the option stands for, or the option's own. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  '--profile': optionsOf('profile'),
  '--control': optionsOf('server.control'),
  '--log-level': optionsOf('log.level'),
  '--log-format': optionsOf('log.format'),
  '--format': ['text', 'markdown', 'json'],
  '--since': ['1h', '12h', '24h', '7d'],
};
/** Words that a command takes as its argument. */
function argumentsOf(name: string, commands: readonly CommandWords[]): readonly string[] {
  switch (name) {
    case 'config':
      return ['trust'];
    case 'notify':
      return ['test'];
    case 'service':
      return ['install', 'uninstall', 'status', 'logs'];
    case 'completion':
      return Object.keys(SHELLS);
    case 'help':
      return commands.map((command) => command.name);
    default:
      return [];
  }
}

/** Completed like the other commands, although commander has it as `--help`. */
const HELP: CommandWords = { name: 'help', summary: 'all about a command', options: [] };

function bash(commands: readonly CommandWords[]): string {
  const cases = [...commands, HELP].map(({ name, options }) => {
    const all = [...argumentsOf(name, commands), ...options.map(({ flag }) => flag)].join(' ');
    const named = ON_SESSIONS.has(name) ? ' named=sessions' : '';
    return `    ${name}) words="${all}"${named} ;;`;
  });
  const values = Object.entries(VALUES).map(
    ([flag, all]) =>
      `    ${flag}) COMPREPLY=($(compgen -W "${all.join(' ')}" -- "$current")); return ;;`,
  );
  const dynamic = Object.entries(NAMED_OPTIONS).map(
    ([flag, kind]) =>
      `    ${flag}) COMPREPLY=($(compgen -W "$(_opencode_watchdog_named ${kind})" -- "$current")); return ;;`,
  );
  return `# bash completion of opencode-watchdog: source <(opencode-watchdog completion bash)
_opencode_watchdog_named() { "\${COMP_WORDS[0]}" completion "$1" 2>/dev/null; }
_opencode_watchdog() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words named=""
  case "$previous" in
    ${[...FILES].join('|')}) COMPREPLY=($(compgen -f -- "$current")); return ;;
${[...values, ...dynamic].join('\n')}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${[...commands, HELP].map(({ name }) => name).join(' ')}" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    *) words="" ;;
  esac
  if [ -n "$named" ] && [ "$COMP_CWORD" -eq 2 ] && [ "\${current#-}" = "$current" ]; then
    words="$(_opencode_watchdog_named "$named")"
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ -n "$COMPREPLY" ] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -F _opencode_watchdog opencode-watchdog
`;
}

function zsh(commands: readonly CommandWords[]): string {
  const quoted = (text: string) => text.replaceAll("'", "'\\''").replaceAll(/[[\]:]/g, '\\$&');
  const names = [...commands, HELP].map(({ name, summary }) => `    '${name}:${quoted(summary)}'`);
  const completerOf = (flag: string) => {
    if (FILES.has(flag)) return ':file:_files';
    const kind = NAMED_OPTIONS[flag];
    if (kind !== undefined) return `:${kind}:_opencode_watchdog_named ${kind}`;
    const values = VALUES[flag];
    return values === undefined ? ':value:' : `:value:(${values.join(' ')})`;
  };
  const cases = [...commands, HELP].map(({ name, options }) => {
    const specs = options.map(
      ({ flag, summary, takesValue }) =>
        `'${flag}[${quoted(summary)}]${takesValue ? completerOf(flag) : ''}'`,
    );
    const taken = argumentsOf(name, commands);
    const argument = ON_SESSIONS.has(name)
      ? "'1:session:_opencode_watchdog_named sessions'"
      : taken.length > 0
        ? `'1:word:(${taken.join(' ')})'`
        : "'*:file:_files'";
    return `    ${name}) _arguments ${[...specs, argument].join(' ')} ;;`;
  });
  return `#compdef opencode-watchdog
# zsh completion of opencode-watchdog: source <(opencode-watchdog completion zsh)
_opencode_watchdog_named() { compadd -- \${(f)"$(opencode-watchdog completion $1 2>/dev/null)"} }
_opencode_watchdog() {
  local -a commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command="$words[2]"
  shift words
  (( CURRENT-- ))
  case "$command" in
${cases.join('\n')}
  esac
}
compdef _opencode_watchdog opencode-watchdog
`;
}

function fish(commands: readonly CommandWords[]): string {
  const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const completerOf = (flag: string) => {
    if (FILES.has(flag)) return ' -r -F';
    const kind = NAMED_OPTIONS[flag];
    if (kind !== undefined) return ` -x -a '(opencode-watchdog completion ${kind} 2>/dev/null)'`;
    const values = VALUES[flag];
    return values === undefined ? ' -x' : ` -x -a ${quoted(values.join(' '))}`;
  };
  const lines = [...commands, HELP].flatMap(({ name, summary, options }) => {
    const here = `complete -c opencode-watchdog -n '__fish_seen_subcommand_from ${name}'`;
    const taken = argumentsOf(name, commands);
    return [
      `complete -c opencode-watchdog -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`,
      ...(taken.length > 0 ? [`${here} -f -a ${quoted(taken.join(' '))}`] : []),
      ...(ON_SESSIONS.has(name)
        ? [`${here} -f -a '(opencode-watchdog completion sessions 2>/dev/null)'`]
        : []),
      ...options.map(
        ({ flag, summary: words, takesValue }) =>
          `${here} -l ${flag.slice(2)} -d ${quoted(words)}${takesValue ? completerOf(flag) : ''}`,
      ),
    ];
  });
  return `# fish completion of opencode-watchdog: opencode-watchdog completion fish | source
${lines.join('\n')}
`;
}
