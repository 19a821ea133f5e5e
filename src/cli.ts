#!/usr/bin/env node
/** The command line: turns arguments into calls. To add a command, add one entry to `COMMANDS`. */
import { Command, CommanderError } from 'commander';
import { examplesOf, GROUPS, groupOf } from './commands/help.js';
import { documentsHint, EXIT, exitCodeOf, packageVersion } from './commands/shared.js';
import { suggest } from './lib/suggest.js';

interface CommandEntry {
  name: string;
  summary: string;
  /** This command runs if none is named. */
  isDefault?: true;
  /** Adds arguments and options beyond the common ones. */
  configure?(command: Command): Command;
  /**
   * Loads the command's file only when it runs, so that no command pays for another. Returns the exit code. `options`
   * and `args` are what commander parsed by `configure`.
   */
  run(options: ReturnType<Command['opts']>, args: string[]): Promise<number>;
}

const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'run',
    summary: 'watch over the server, in the foreground (the default command)',
    isDefault: true,
    configure: (command) =>
      daemonOptions(command).option('--record <file>', 'write every observation, for replay'),
    run: async (options) => (await import('./commands/run.js')).run(options),
  },
  {
    name: 'check',
    summary: 'is opencode installed, the server up, its providers connected, its model known',
    configure: (command) =>
      daemonOptions(command)
        .option('--start', 'start a server where nobody listens, and leave it running')
        .option('--unattended', 'list what may stop to ask a person, and what would answer it')
        .option('--json', 'print JSON'),
    run: async (options) => (await import('./commands/check.js')).check(options),
  },
  {
    name: 'replay',
    summary: 'feed a recording to the state machine and print each decision',
    configure: (command) =>
      command
        .argument('<file>', 'made by "run --record"')
        .option('--diff <config>', 'also show what this configuration would have decided')
        .option('--json', 'print NDJSON'),
    run: async (options, args) =>
      (await import('./commands/replay.js')).replayCommand(args, options),
  },
  {
    name: 'prompt',
    summary: 'one safe run: new session, send, bounded wait, print the reply, delete',
    configure: (command) =>
      newSessionOptions(promptOptions(command))
        .argument('<text>', 'the prompt; - reads it from stdin')
        .option('--from-session <session>', 'its last answer goes before the prompt')
        .option('--fallback <model>', 'tried in a new session when a model is down', collect)
        .option('--deadline <duration>', 'over all tries (else: --timeout for each)')
        .option('--keep', 'do not delete the session'),
    run: async (options, args) => (await import('./commands/prompt.js')).prompt(args, options),
  },
  {
    name: 'batch',
    summary: 'many prompts from a file, one NDJSON result for each as it ends',
    configure: (command) =>
      command
        .argument(
          '<file>',
          'tasks as NDJSON, a JSON array or YAML (.yaml): prompt, model, …; - reads stdin',
        )
        .option('--concurrency <n>', 'so many at a time (default: 4)')
        .option(
          '--server-wait <duration>',
          'a server that went away is waited for (default: 2m; 0: not)',
        )
        .option('--output <file>', 'append the results there (else: stdout)')
        .option('--resume', 'skip what --output says is done')
        .option('--model <provider/model>', 'for tasks that name none')
        .option('--timeout <duration>', 'for tasks that name none (default: 60s)')
        .option(
          '--max-attempts <n>',
          "give up when opencode's retry counter reaches this (default: 5)",
        ),
    run: async (options, args) => (await import('./commands/batch.js')).batchCommand(args, options),
  },
  {
    name: 'create',
    summary: 'a new session; prints its id',
    configure: (command) =>
      newSessionOptions(command)
        .option('--agent <name>', 'which agent')
        .option('--json', 'print JSON'),
    run: async (options, args) => (await import('./commands/send.js')).create(args, options),
  },
  {
    name: 'send',
    summary: 'a prompt to a session; waits for the reply',
    configure: (command) =>
      sessionOptions(promptOptions(command))
        .argument('<text>', 'the prompt; - reads it from stdin')
        .option('--queue', 'behind the run that the session is at work on (else: refused)')
        .option('--async', 'only send; "wait" follows it to its end'),
    run: async (options, args) => (await import('./commands/send.js')).send(args, options),
  },
  {
    name: 'wait',
    summary: 'follow the newest run of a session to its end, and print the reply',
    configure: (command) => sessionOptions(waitOptions(command)),
    run: async (options, args) => (await import('./commands/send.js')).wait(args, options),
  },
  {
    name: 'sessions',
    summary: 'the sessions of all directories, and what each is doing',
    configure: (command) =>
      command
        .argument('[session]', 'only this one')
        .option('--active', 'only those that are not ready')
        .option('--limit <n>', 'at most so many, those at work first (default: 50)')
        .option('--directory <path>', 'where it lives, if it was deleted while it ran')
        .option('--json', 'print JSON'),
    run: async (options, args) => (await import('./commands/sessions.js')).sessions(args, options),
  },
  {
    name: 'models',
    summary: 'the models that can be asked, with their limits',
    configure: (command) =>
      command
        .option('--all', 'those of providers that are not connected, too')
        .option('--json', 'print JSON'),
    run: async (options, args) => (await import('./commands/models.js')).models(args, options),
  },
  {
    name: 'messages',
    summary: 'the transcript of a session',
    configure: (command) =>
      sessionOptions(command)
        .option('--format <form>', 'text, markdown or json (default: text)')
        .option('--limit <n>', 'only the last ones')
        .option('--json', 'print JSON'),
    run: async (options, args) =>
      (await import('./commands/session-acts.js')).messages(args, options),
  },
  {
    name: 'abort',
    summary: 'end the run of a session, and see that it has ended',
    configure: (command) =>
      sessionOptions(command, { mayBeDeleted: true }).option('--json', 'print JSON'),
    run: async (options, args) => (await import('./commands/session-acts.js')).abort(args, options),
  },
  {
    name: 'delete',
    summary: 'abort a session, then delete it, and see that it is gone',
    configure: (command) =>
      sessionOptions(command, { mayBeDeleted: true }).option('--json', 'print JSON'),
    run: async (options, args) =>
      (await import('./commands/session-acts.js')).remove(args, options),
  },
  {
    name: 'sweep',
    summary: 'end the sessions that a killed prompt or batch of this machine left behind',
    configure: (command) =>
      command
        .option('--dry-run', 'say what would be ended, and end nothing')
        .option('--json', 'print JSON'),
    run: async (options) => (await import('./commands/sweep.js')).sweep(options),
  },
  {
    name: 'mcp',
    summary: 'the driver as an MCP server on stdio, for agents that call tools',
    run: async (options) => (await import('./commands/mcp.js')).mcp(options),
  },
  {
    name: 'status',
    summary: "the running daemon's view: server, sessions with health, incidents",
    configure: (command) =>
      command
        .option('--watch', 'refresh it in place; q ends it, / searches, arrows scroll')
        .option('--all', 'idle sessions that finished, too')
        .option('--json', 'print JSON; with --watch, one line each time'),
    run: async (options) => (await import('./commands/status.js')).status(options),
  },
  {
    name: 'report',
    summary: "what happened: from the daemon's history, from log files, or from a log on stdin",
    configure: (command) =>
      command
        .argument('[files...]', 'log files; - reads stdin (else: the history of the daemon)')
        .option('--since <when>', 'how long ago, or a time (default: 12h; of files: all)')
        .option('--incident <id>', 'only this one, with its evidence')
        .option('--format <form>', 'text, markdown or json (default: text)'),
    run: async (options, args) => (await import('./commands/report.js')).report(args, options),
  },
  {
    name: 'notify',
    summary: 'send one test message through every configured notification',
    configure: (command) => command.argument('<test>', '"test"'),
    run: async (options, args) => (await import('./commands/notify.js')).notify(args, options),
  },
  {
    name: 'page',
    summary: 'print the link to the status page, with what it needs to act',
    configure: (command) => command.option('--open', 'open it in the browser, too'),
    run: async (options) => (await import('./commands/page.js')).page(options),
  },
  {
    name: 'service',
    summary: 'install the daemon as a service of this machine (systemd, launchd), or remove it',
    configure: (command) =>
      command
        .argument('<act>', 'install, uninstall, status or logs')
        .option('--system', 'for the whole machine, as root (else: for the logged-in user)')
        .option('--follow', 'with logs: go on showing new lines'),
    run: async (options, args) => (await import('./commands/service.js')).service(args, options),
  },
  {
    name: 'healthcheck',
    summary: "exit 0 while the running daemon's own loop turns, for a container's health check",
    run: async (options) => (await import('./commands/healthcheck.js')).healthcheck(options),
  },
  {
    name: 'restart',
    summary: 'restart the server now: by the running daemon, else with the same steps',
    configure: (command) => command.option('--json', 'print JSON'),
    run: async (options) => (await import('./commands/daemon-acts.js')).restart(options),
  },
  {
    name: 'pause',
    summary: 'the running daemon watches and decides on, and acts no more until it is resumed',
    configure: (command) => command.option('--json', 'print JSON'),
    run: async (options) => (await import('./commands/daemon-acts.js')).pause(options),
  },
  {
    name: 'resume',
    summary: 'the running daemon acts again',
    configure: (command) => command.option('--json', 'print JSON'),
    run: async (options) => (await import('./commands/daemon-acts.js')).resume(options),
  },
  {
    name: 'completion',
    summary: 'print a script that completes commands, options and values in your shell',
    configure: (command) =>
      command.argument('<shell>', 'bash, zsh or fish; models and sessions list what can be named'),
    run: async (options, args) =>
      (await import('./commands/completion.js')).completion(args, options, commandWords()),
  },
  {
    name: 'config',
    summary: 'print the effective configuration with where each value came from',
    configure: (command) =>
      daemonOptions(command)
        .argument('[trust]', '"trust": a file of the working directory counts as it is now')
        .argument('[file]', 'which one (default: ./opencode-watchdog.yaml)')
        .option('--check', 'only validate')
        .option('--changed', 'only the keys that something sets')
        .option('--json', 'print JSON'),
    run: async (options, args) => (await import('./commands/config.js')).config(args, options),
  },
];

const collect = (value: string, earlier: string[] = []) => [...earlier, value];

/** The options for waiting for a run. */
function waitOptions(command: Command): Command {
  return command
    .option('--timeout <duration>', 'abort a run without a reply after this long (default: 60s)')
    .option('--max-attempts <n>', "give up when opencode's retry counter reaches this (default: 5)")
    .option('--max-steps <n>', 'abort a run that makes more model requests than this')
    .option('--allow-empty', 'an answer without text is no failure')
    .option('--allow-truncated', 'an answer that was cut is no failure')
    .option('--wait-for-people', 'leave permissions and questions to a person (else: answer no)')
    .option('--json', 'print JSON');
}

/** The options for what is asked and how. */
function promptOptions(command: Command): Command {
  return waitOptions(command)
    .option('--model <provider/model>', "which model (else opencode's own choice)")
    .option('--variant <name>', "one of the model's variants")
    .option('--thinking <tokens>', 'a thinking budget, where a variant of the model has one')
    .option('--agent <name>', 'which agent')
    .option('--system <text>', 'further system text')
    .option('--context <file>', 'text that goes before the prompt; - reads stdin', collect)
    .option('--file <file>', 'a file that goes with the prompt', collect)
    .option('--schema <file>', 'a JSON schema: prints the answer as JSON of that form');
}

function sessionOptions(command: Command, { mayBeDeleted = false } = {}): Command {
  const where = mayBeDeleted
    ? 'where it lives, if it was deleted while it ran (else: found out)'
    : 'has no effect: the server names where it lives';
  return command.argument('<session>', 'its id').option('--directory <path>', where);
}

function newSessionOptions(command: Command): Command {
  return command
    .option('--title <text>', 'the title of the session')
    .option('--parent <session>', 'makes it a child of this session')
    .option('--directory <path>', "the project (else the server's own working directory)")
    .option('--permission <rule>', 'TOOL=allow|deny|ask or TOOL:PATTERN=…', collect);
}

/** The options that stand for keys of the configuration. `run` takes them, and `config` shows what they would do. */
function daemonOptions(command: Command): Command {
  return command
    .option('--control <mode>', 'who starts and stops the server (server.control)')
    .option('--directory <path>', 'working directory of a spawned server (server.directory)')
    .option('--dry-run', 'say what would be done, and do nothing')
    .option('--log-level <level>', 'least level that is logged')
    .option('--log-format <format>', 'auto, json or pretty');
}

/** A command with its own options and the common ones. */
function commandOf(entry: CommandEntry): Command {
  const command = new Command(entry.name)
    .description(entry.summary)
    .option('--config <file>', 'configuration file')
    .option('--url <url>', 'where opencode listens (server.url)')
    .option('--profile <name>', 'a set of values: default, unattended or strict (profile)')
    .version(packageVersion(), '-v, --version')
    .helpGroup(groupOf(entry.name))
    .addHelpText('after', examplesOf(entry.name))
    .exitOverride();
  return entry.configure?.(command) ?? command;
}

/** The words that can be completed. */
function commandWords() {
  return COMMANDS.map((entry) => ({
    name: entry.name,
    summary: entry.summary,
    options: commandOf(entry).options.map(({ long, description, required }) => ({
      flag: long ?? '',
      summary: description,
      takesValue: required,
    })),
  }));
}

/** @returns the exit code */
async function main(argv: readonly string[]): Promise<number> {
  let json = false;
  try {
    const { entry, options, args } = parse(askingForHelp(argv));
    json = options.json === true;
    return await entry.run(options, args);
  } catch (error) {
    // commander has already printed what is wrong. Its code 0 is --help and --version.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    return exitCodeOf(error, { json });
  }
}

/** `help` and `help status` are `--help` and `status --help`. */
function askingForHelp(argv: readonly string[]): readonly string[] {
  const [word, command] = argv;
  if (word !== 'help') return argv;
  return command === undefined ? ['--help'] : [command, '--help'];
}

interface Chosen {
  entry: CommandEntry;
  options: ReturnType<Command['opts']>;
  args: string[];
}

/**
 * Finds which command to run, and with what. Everything else that commander made is freed before the command runs,
 * because a daemon runs for a long time.
 */
function parse(argv: readonly string[]): Chosen {
  let chosen: Chosen | undefined;
  const program = new Command('opencode-watchdog')
    .description(
      'Supervises opencode serve: aborts stuck sessions, restarts the server when it must.',
    )
    .version(packageVersion(), '-v, --version')
    .helpCommand(false)
    .addHelpText(
      'after',
      `${examplesOf('')}\n\nAll about a command: help COMMAND.${documentsHint()}`,
    )
    .exitOverride();
  for (const entry of inGroups(COMMANDS)) {
    const command = commandOf(entry).action(() => {
      chosen = { entry, options: command.opts(), args: command.args };
    });
    program.addCommand(command, { isDefault: entry.isDefault ?? false });
  }
  refuseUnknownCommand(program, argv[0]);
  program.parse([...argv], { from: 'user' });
  if (chosen === undefined) throw new Error('commander has chosen no command');
  return chosen;
}

/** Sorts the commands by group: that is the order of the help. */
function inGroups(entries: readonly CommandEntry[]): CommandEntry[] {
  const order = Object.values(GROUPS).flat();
  return entries.toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
}

/** Because there is a default command, commander takes an unknown word for that command's argument. */
function refuseUnknownCommand(program: Command, word: string | undefined): void {
  if (word === undefined || word.startsWith('-')) return;
  const names = COMMANDS.map(({ name }) => name);
  if (names.includes(word)) return;
  program.error(`error: unknown command '${word}'\n(Did you mean ${suggest(word, names)}?)`);
}

const code = await main(process.argv.slice(2));
// If an output could not be written, that is a failure, whatever else went well.
process.exitCode ||= code;
