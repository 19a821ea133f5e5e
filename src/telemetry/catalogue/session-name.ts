/** A session's name in a sentence: its title and project, else the end of its id. The fields have the whole id. */
import { cutTo, shortId } from '../../lib/text-width.js';

/** Columns of a title in a sentence. */
const TITLE_COLUMNS = 60;

/** `“Fix the build” (shop)`, `…a1b2c3 (shop)`, `…a1b2c3` */
export function named(f: { sessionID?: string; title?: string; directory?: string }): string {
  const { sessionID = 'of unknown id', title, directory } = f;
  const words = title ? `“${cutTo(title, TITLE_COLUMNS)}”` : shortId(sessionID);
  const project = directory === undefined ? undefined : projectOf(directory);
  return project === undefined ? words : `${words} (${project})`;
}

/** `directory shop` */
export const namedDirectory = (directory: string): string =>
  `directory ${projectOf(directory) ?? directory}`;

/** The last part of a directory, on Unix and Windows; undefined for a root. */
export function projectOf(directory: string): string | undefined {
  return directory.split(/[/\\]/).findLast((part) => part !== '');
}
