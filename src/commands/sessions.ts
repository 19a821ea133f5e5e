/** `sessions`: the server's sessions and what each is doing, over all directories; with an id, that one alone. */
import Table from 'cli-table3';
import { printableDeep } from '../lib/printable.js';
import { isActive } from '../opencode/driver/list-sessions.js';
import type { SessionState } from '../opencode/driver/types.js';
import { countOf, type DrivingOptions, drive, READS } from './driver-commands.js';
import { sessionOf } from './session-acts.js';
import { complain, EXIT, print, printJson } from './shared.js';

export interface SessionsOptions extends DrivingOptions {
  active?: boolean;
  limit?: string;
  directory?: string;
}

const DEFAULT_LIMIT = 50;

export async function sessions([id]: string[], options: SessionsOptions): Promise<number> {
  const { active = false, json = false, directory } = options;
  const limit = options.limit === undefined ? DEFAULT_LIMIT : countOf('--limit', options.limit);
  return drive(
    options,
    async ({ driver, signal }) => {
      if (id !== undefined) {
        const state = await driver.status(sessionOf([id], { directory }), signal);
        if (json) printJson(state);
        else print(tableOf([state]));
        return EXIT.done;
      }
      const all = await driver.sessions({ limit, signal });
      const wanted = all.filter(({ status }) => !active || isActive(status));
      const shown = atMost(limit, wanted);
      if (json) printJson(shown);
      else if (shown.length > 0) print(tableOf(shown));
      else complain(active ? 'no session is active' : 'there are no sessions');
      const more = wanted.length - shown.length;
      if (more > 0) complain(`${more} more at work: --limit ${wanted.length} lists them too`);
      return EXIT.done;
    },
    READS,
  );
}

/** Keeps the order. If there are too many, sessions at work are kept before the others. */
export function atMost(limit: number, states: readonly SessionState[]): SessionState[] {
  const atWork = states.filter(({ status }) => isActive(status));
  const kept = new Set(
    [...atWork, ...states.filter(({ status }) => !isActive(status))].slice(0, limit),
  );
  return states.filter((state) => kept.has(state));
}

export function tableOf(states: readonly SessionState[]): string {
  const table = plainTable(['session', 'status', 'updated', 'directory', 'title']);
  for (const state of printableDeep(states)) {
    const { id, updated, directory = '', title = '', parentID } = state;
    const name = parentID === undefined ? title : `↳ ${title}`;
    table.push([id, statusWords(state), timeWords(updated), directory, name.slice(0, 60)]);
  }
  return rowsOf(table);
}

function statusWords({ status, ghost }: SessionState): string {
  const words = describe(status);
  return ghost ? `${words}, ghost` : words;
}

function describe(status: SessionState['status']): string {
  switch (status?.type) {
    case undefined:
      return 'not asked';
    case 'ready':
    case 'busy':
    case 'unknown':
      return status.type;
    case 'retry': {
      const { attempt, nextInMs } = status;
      const next = nextInMs === undefined ? '' : `, next in ${Math.ceil(nextInMs / 1000)} s`;
      return `retry ${attempt}${next}`;
    }
  }
}

/** The time is the server's word, so it may be none. */
function timeWords(ms: number | undefined): string {
  const at = new Date(ms ?? Number.NaN);
  return Number.isNaN(at.getTime()) ? '' : at.toISOString().slice(0, 19).replace('T', ' ');
}

/** The table without the spaces that fill up the last column. */
export const rowsOf = (table: Table.Table) =>
  table
    .toString()
    .split('\n')
    .map((row) => row.trimEnd())
    .join('\n');

/** A table of columns without lines: people can read it, and `awk` can split it. */
export function plainTable(head: string[]): Table.Table {
  const none = Object.fromEntries(
    'top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right left left-mid mid mid-mid right right-mid middle'
      .split(' ')
      .map((place) => [place, '']),
  );
  return new Table({
    head,
    chars: { ...none, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
}
