/** `completion SHELL`: a script that completes commands and options, made from the commands themselves. */
import { EXIT, ExitError, print } from './shared.js';

export interface CommandWords {
  name: string;
  summary: string;
  options: readonly { flag: string; summary: string; takesValue: boolean }[];
}

const SHELLS = { bash, zsh, fish };

export async function completion(
  [shell = '']: readonly string[],
  commands: readonly CommandWords[],
): Promise<number> {
  if (!Object.hasOwn(SHELLS, shell)) {
    const known = Object.keys(SHELLS).join(', ');
    throw new ExitError(EXIT.usage, `completion "${shell}": expected one of ${known}`);
  }
  print(SHELLS[shell as keyof typeof SHELLS](commands));
  return EXIT.done;
}

/** Options that name a file or a folder are completed with files. */
const FILES = new Set(['--config', '--directory', '--record', '--output', '--file', '--context']);

function bash(commands: readonly CommandWords[]): string {
  const cases = commands.map(
    ({ name, options }) => `    ${name}) words="${options.map(({ flag }) => flag).join(' ')}" ;;`,
  );
  return `# bash completion of opencode-watchdog: source <(opencode-watchdog completion bash)
_opencode_watchdog() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words
  case "$previous" in
    ${[...FILES].join('|')}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')}" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    *) words="" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ -n "$COMPREPLY" ] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -F _opencode_watchdog opencode-watchdog
`;
}

function zsh(commands: readonly CommandWords[]): string {
  const quoted = (text: string) => text.replaceAll("'", "'\\''").replaceAll(/[[\]:]/g, '\\$&');
  const names = commands.map(({ name, summary }) => `    '${name}:${quoted(summary)}'`);
  const cases = commands.map(({ name, options }) => {
    const specs = options.map(({ flag, summary, takesValue }) => {
      const value = takesValue ? (FILES.has(flag) ? ':file:_files' : ':value:') : '';
      return `'${flag}[${quoted(summary)}]${value}'`;
    });
    return `    ${name}) _arguments ${[...specs, "'*:file:_files'"].join(' ')} ;;`;
  });
  return `#compdef opencode-watchdog
# zsh completion of opencode-watchdog: source <(opencode-watchdog completion zsh)
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
  const lines = commands.flatMap(({ name, summary, options }) => [
    `complete -c opencode-watchdog -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`,
    ...options.map(({ flag, summary: words, takesValue }) => {
      const value = takesValue ? (FILES.has(flag) ? ' -r -F' : ' -x') : '';
      return `complete -c opencode-watchdog -n '__fish_seen_subcommand_from ${name}' -l ${flag.slice(2)} -d ${quoted(words)}${value}`;
    }),
  ]);
  return `# fish completion of opencode-watchdog: opencode-watchdog completion fish | source
${lines.join('\n')}
`;
}
