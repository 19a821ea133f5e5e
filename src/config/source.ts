/** What one source of the configuration says: the file, the environment, the command line or a profile. */
import type { Problem } from './problem.js';

export interface Entry {
  path: string;
  /** Ways to read it, in order of preference: text from the environment may be YAML, or may be meant literally. */
  candidates: readonly unknown[];
  source: string;
}

export interface Source {
  entries: Entry[];
  problems: Problem[];
  /** Its values are checked only if they are used, because they are another program's variables. */
  yields?: true;
}
