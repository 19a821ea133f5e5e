/**
 * Tells the journal how severe a line is, by the prefix that it takes off again (sd-daemon(3)): `journalctl -p warning`
 * works, and what it keeps of the line is plain JSON.
 */
import { fstatSync } from 'node:fs';

/** syslog(3)'s numbers. */
const PRIORITY = new Map([
  ['trace', 7],
  ['debug', 7],
  ['info', 6],
  ['warn', 4],
  ['error', 3],
  ['fatal', 2],
]);

/** Whether a descriptor is the journal's, and was not redirected since: `$JOURNAL_STREAM` (systemd.exec(5)). */
export function isJournal(fd: number, env: NodeJS.ProcessEnv): boolean {
  if (!env.JOURNAL_STREAM) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return env.JOURNAL_STREAM === `${dev}:${ino}`;
  } catch {
    // A closed descriptor is nobody's.
    return false;
  }
}

/** A line that does not begin with its level is left as it is. */
export function withPriority(line: string): string {
  const level = /^\{"level":"([a-z]+)"/.exec(line)?.[1];
  const priority = level === undefined ? undefined : PRIORITY.get(level);
  return priority === undefined ? line : `<${priority}>${line}`;
}
