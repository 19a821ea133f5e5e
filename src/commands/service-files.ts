/**
 * The files of `service install`: a systemd unit made from the one that this package ships, or a launchd agent. Pure.
 */

/** What starts the daemon on this machine. All paths are absolute. */
export interface ServiceProgram {
  /** Node and the command's file. */
  command: readonly string[];
  /** Folders of opencode and node, for PATH. */
  path: readonly string[];
  configFile: string;
}

/** The unit's name, and the agent's label. */
export const SERVICE_NAME = 'opencode-watchdog';

/**
 * Whether launchd runs this process as the agent. launchd sets $XPC_SERVICE_NAME to the job's label; in a terminal it is
 * "0" or the label of the terminal's application. Not tested on macOS.
 */
export function isAgent(env: NodeJS.ProcessEnv): boolean {
  return env.XPC_SERVICE_NAME === SERVICE_NAME;
}

/** The mark in every unit and agent that `service install` writes: only a file with it is replaced or removed. */
export const MARK = 'Written by "opencode-watchdog service install".';

/** @param template the shipped unit, whose ExecStart and PATH are those of another machine */
export function systemdUnit(template: string, program: ServiceProgram): string {
  const words = [...program.command, 'run', '--config', program.configFile];
  const start = `ExecStart=${words.map(unitWord).join(' ')}`;
  const path = `Environment=${unitWord(`PATH=${program.path.join(':')}`)}`;
  const lines = template.split('\n').flatMap((line) => {
    if (line.startsWith('ExecStart=')) return [path, start];
    return line.startsWith('Environment=PATH=') ? [] : [line];
  });
  return `# ${MARK}\n${lines.join('\n')}`;
}

/** The configuration file that a unit or an agent names which this module has written. */
export function configFileOf(text: string): string | undefined {
  const ofAgent = /<string>--config<\/string>\s*<string>([^<]*)<\/string>/.exec(text)?.[1];
  if (ofAgent !== undefined) return fromXml(ofAgent);
  const ofUnit = /^ExecStart=.* run --config (?:"((?:[^"\\]|\\.)*)"|(\S+))$/m.exec(text);
  const word = ofUnit?.[1]?.replaceAll(/\\(.)/g, '$1') ?? ofUnit?.[2];
  return word?.replaceAll('%%', '%').replaceAll('$$', '$');
}

/** The line of a configuration that tells every command where the password is. JSON's string is YAML's, too. */
export function passwordLine(passwordFile: string): string {
  return `server: { passwordFile: ${JSON.stringify(passwordFile)} }`;
}

/** The account of the system unit (systemd/opencode-watchdog.service). */
export const SYSTEM_USER = 'opencode';

/** What `ProtectHome=yes` hides from the system unit (systemd.exec(5)). */
const HIDDEN = /^\/(home|root|run\/user)\//;

/** Which of these files the system unit, which runs as another account, would not find. */
export function hiddenFromSystem(files: readonly string[]): string[] {
  return files.filter((file) => HIDDEN.test(file));
}

/**
 * A word of systemd's command lines (systemd.service(5)): `%` and `$` are doubled, as they begin a specifier and a
 * variable; `"` and `\` are escaped.
 */
function unitWord(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w@%+=:,./~-]+$/.test(escaped)
    ? escaped
    : `"${escaped.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

/** A launchd agent (launchd.plist(5)). Not tested on macOS. */
export function launchdAgent(
  label: string,
  program: ServiceProgram,
  { home, logFile, passwordFile }: { home: string; logFile: string; passwordFile: string },
): string {
  const words = [...program.command, 'run', '--config', program.configFile, '--log-format', 'json'];
  const strings = words.map((word) => `    <string>${xml(word)}</string>`).join('\n');
  return `<?xml version="1.0" encoding="UTF-8"?>
<!-- ${MARK} -->
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${xml(label)}</string>
  <key>ProgramArguments</key>
  <array>
${strings}
  </array>
  <key>EnvironmentVariables</key>
  <dict>
    <key>PATH</key>
    <string>${xml(program.path.join(':'))}</string>
    <key>OPENCODE_WATCHDOG_SERVER_PASSWORDFILE</key>
    <string>${xml(passwordFile)}</string>
  </dict>
  <key>WorkingDirectory</key>
  <string>${xml(home)}</string>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>StandardOutPath</key>
  <string>${xml(logFile)}</string>
  <key>StandardErrorPath</key>
  <string>${xml(logFile)}</string>
</dict>
</plist>
`;
}

const xml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const fromXml = (text: string): string =>
  text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
