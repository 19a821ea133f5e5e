/** The evidence of a server's state before its restart, in words: for a terminal, or for a bug report to opencode. */
import { printableDeep } from '../../lib/printable.js';
import { bytes, counted, time } from '../../telemetry/number-text.js';
import type { EvidenceSession, ServerEvidence } from '../evidence-store.js';

type Process = NonNullable<ServerEvidence['processes']>[number];

export interface EvidencePart {
  title: string;
  rows: string[];
}

/** @param folder as the incident names it */
export function evidenceParts(
  folder: string,
  given: ServerEvidence | { why: string },
): EvidencePart[] {
  const evidence = printableDeep(given);
  if ('why' in evidence) {
    return [{ title: `Seen before the restart: ${folder} cannot be read`, rows: [evidence.why] }];
  }
  const { opencode, machine, sessions, processes = [], output } = evidence;
  const { version = '(version unknown)', api, pid } = opencode;
  const total = processes.reduce((sum, each) => sum + each.bytes, 0);
  return [
    {
      title: `Seen before the restart, ${evidence.time}`,
      rows: [
        `opencode ${version}${api === undefined ? '' : `, API ${api}`}${pid === undefined ? '' : `, pid ${pid}`}`,
        `${machine.system}, ${counted(machine.cpus, 'CPU')}, load ${machine.load.join(' ')}, ${bytes(machine.freeBytes)} of ${bytes(machine.totalBytes)} free`,
      ],
    },
    {
      title:
        processes.length === 0
          ? 'Processes: none is seen from here'
          : `Processes: ${processes.length}, ${bytes(total)}`,
      rows: processes.map(processRow),
    },
    { title: `Open sessions: ${sessions.length}`, rows: sessions.map(sessionRow) },
    {
      title:
        output.length === 0
          ? 'Output: none that the watchdog could read'
          : `Its last ${counted(output.length, 'line')} of output`,
      rows: output,
    },
  ];
}

function processRow({ pid, ppid, name, state, bytes: size, threads }: Process): string {
  const groups = new Map<string, number>();
  const wordsOf = ({ state: of, waitsIn }: Process['threads'][number]) =>
    waitsIn === undefined ? of : `${of} in ${waitsIn}`;
  for (const thread of threads) {
    const words = wordsOf(thread);
    groups.set(words, (groups.get(words) ?? 0) + 1);
  }
  const main = threads.find(({ tid }) => tid === pid);
  const all = [...groups]
    .sort((a, b) => b[1] - a[1])
    .map(([words, amount]) => `${amount} ${words}`);
  const head = `${pid} ${name}, child of ${ppid}, ${state}, ${bytes(size)}`;
  if (main === undefined) return head;
  return `${head}; main thread ${wordsOf(main)}; ${counted(threads.length, 'thread')}: ${all.join(', ')}`;
}

function sessionRow(session: EvidenceSession): string {
  const { id, parentID, health, forMs, runForMs, steps, attempt, model, tool, toolForMs } = session;
  return [
    `${id} ${health} for ${time(forMs)}`,
    ...(runForMs === undefined ? [] : [`run of ${time(runForMs)}`]),
    ...(steps === undefined ? [] : [counted(steps, 'step')]),
    ...(attempt === undefined ? [] : [`attempt ${attempt}`]),
    ...(model === undefined ? [] : [model]),
    ...(tool === undefined
      ? []
      : [`tool ${tool}${toolForMs === undefined ? '' : ` for ${time(toolForMs)}`}`]),
    ...(parentID === undefined ? [] : [`subagent of ${parentID}`]),
    ...(session.message === undefined ? [] : [session.message]),
  ].join(', ');
}

/** Puts the lines into a fence that none of them can end (CommonMark 4.5). */
export function fenced(lines: readonly string[]): string[] {
  const runs = lines.flatMap((line) => line.match(/`{3,}/g) ?? []);
  const longest = Math.max(2, ...runs.map((run) => run.length));
  const fence = '`'.repeat(longest + 1);
  return [`${fence}text`, ...lines, fence];
}
