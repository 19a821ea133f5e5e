/** What one source of the configuration says: the file, the environment, the command line, a profile. */
import type { Problem } from './problem.js';

export interface Entry {
  path: string;
  /** Ways to read it, in order of preference: text from the environment may be YAML or may be meant as it stands. */
  candidates: readonly unknown[];
  source: string;
}

export interface Source {
  entries: Entry[];
  problems: Problem[];
  /** Its values are not ours to judge unless they are used: another program's variables. */
  yields?: true;
}
