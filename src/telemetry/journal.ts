/**
 * Tells the journal how severe a line is, with a prefix that the journal removes again (sd-daemon(3)). So `journalctl
 * -p warning` works, and the line that the journal keeps is plain JSON.
 */
import { fstatSync } from 'node:fs';

/** The priorities of syslog(3). */
const PRIORITY = new Map([
  ['trace', 7],
  ['debug', 7],
  ['info', 6],
  ['warn', 4],
  ['error', 3],
  ['fatal', 2],
]);

/** Whether a descriptor leads to the journal and was not redirected since: `$JOURNAL_STREAM` (systemd.exec(5)). */
export function isJournal(fd: number, env: NodeJS.ProcessEnv): boolean {
  if (!env.JOURNAL_STREAM) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return env.JOURNAL_STREAM === `${dev}:${ino}`;
  } catch {
    // A closed descriptor is not the journal's.
    return false;
  }
}

/** A line that does not begin with its level is left as it is. */
export function withPriority(line: string): string {
  const level = /^\{"level":"([a-z]+)"/.exec(line)?.[1];
  const priority = level === undefined ? undefined : PRIORITY.get(level);
  return priority === undefined ? line : `<${priority}>${line}`;
}
