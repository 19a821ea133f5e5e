/** `report`: what happened, from the daemon's history, from log files or from the journal on stdin. */
import { createReadStream } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { escapeMarkdown } from '../lib/markdown.js';
import { sinceTime } from '../lib/since.js';
import { cutTo } from '../lib/text-width.js';
import { fileFor } from '../status/history-store.js';
import { collect, type Report } from '../status/report/collect.js';
import { evidenceParts, fenced } from '../status/report/evidence-text.js';
import { markdownReport } from '../status/report/markdown.js';
import {
  type Evidence,
  evidenceOf,
  findIncident,
  incidentLines,
} from '../status/report/one-incident.js';
import { textReport } from '../status/report/text.js';
import { type LogLine, parseLogLine } from '../telemetry/log-line.js';
import { daemonHistory } from './daemon-history.js';
import {
  type ConfigOptions,
  complain,
  EXIT,
  ExitError,
  loadForCommand,
  print,
  printJson,
} from './shared.js';

const FORMATS = ['text', 'markdown', 'json'] as const;
type Format = (typeof FORMATS)[number];
/** A night. Without `--since`, files and stdin are reported whole: the person who names them has chosen already. */
const DEFAULT_SINCE = '12h';
/** The width of an output that does not report one. */
const DEFAULT_COLUMNS = 120;

export interface ReportOptions extends ConfigOptions {
  since?: string;
  incident?: string;
  format?: string;
}

export async function report(files: readonly string[], options: ReportOptions): Promise<number> {
  const format = formatOf(options.format);
  const now = Date.now();
  const from = options.since === undefined ? undefined : momentOf(options.since, now);
  const { lines, owner } =
    files.length === 0 ? ofTheDaemon(options) : { lines: await ofFiles(files), owner: undefined };
  const [first] = lines;
  const last = lines.at(-1);
  if (files.length > 0 && (first === undefined || last === undefined)) {
    throw new ExitError(
      EXIT.failed,
      `${files.join(', ')}: no line of opencode-watchdog's log in it (one JSON object a line, as log.format json writes it)`,
    );
  }
  const whole = files.length > 0;
  const begin = from ?? (whole ? (first?.time ?? now) : momentOf(DEFAULT_SINCE, now));
  const end = whole ? Math.max(begin, last?.time ?? now) : now;
  const { incident } = options;
  if (incident !== undefined) {
    return oneIncident(evidenceOf(only(collect(lines, 0, end), incident), lines, owner), format);
  }
  const found = collect(lines, begin, end);
  switch (format) {
    case 'json':
      printJson(found);
      break;
    case 'markdown':
      print(markdownReport(found));
      break;
    case 'text':
      print(textReport(found, columnsOf(process.stdout)));
      break;
  }
  return EXIT.done;
}

/** The incident that `--incident` names. */
function only(found: Report, id: string): Report['incidents'][number] {
  const [incident, second] = findIncident(found, id);
  if (incident !== undefined && second === undefined) return incident;
  const known = found.incidents.slice(0, 5).map((each) => `#${each.id}`);
  throw new ExitError(
    EXIT.usage,
    `--incident ${id}: ${second === undefined ? 'there is none' : 'there are several'}; expected one of ${known.join(', ') || 'none (there was no incident)'}`,
  );
}

function oneIncident(evidence: Evidence, format: Format): number {
  const { head, rows } = incidentLines(evidence);
  const { incident, server } = evidence;
  const seen = server === undefined ? [] : evidenceParts(incident.evidence ?? '', server);
  const columns = columnsOf(process.stdout);
  switch (format) {
    case 'json':
      printJson(evidence);
      break;
    case 'text': {
      const more = seen.flatMap((part) => [part.title, ...part.rows.map((row) => `  ${row}`)]);
      print([...head, ...rows, ...more].map((line) => cutTo(line, columns)).join('\n'));
      break;
    }
    case 'markdown':
      print(
        [
          ...head.map((line) => `**${escapeMarkdown(line)}**  `),
          '',
          ...rows.map((row) => `- ${escapeMarkdown(row)}`),
          ...seen.flatMap(({ title, rows: lines }) => [
            '',
            `**${escapeMarkdown(title)}**`,
            ...(lines.length === 0 ? [] : ['', ...fenced(lines)]),
          ]),
        ].join('\n'),
      );
      break;
  }
  return EXIT.done;
}

/** A pipe has no width, and the terminal of a container or a serial line may report 0. */
function columnsOf({ columns }: { columns?: number }): number {
  return columns || DEFAULT_COLUMNS;
}

function formatOf(value = 'text'): Format {
  const format = FORMATS.find((each) => each === value);
  if (format === undefined) {
    throw new ExitError(EXIT.usage, `--format ${value}: expected text, markdown or json`);
  }
  return format;
}

function momentOf(since: string, now: number): number {
  const time = sinceTime(since, now);
  if (time !== undefined) return time;
  throw new ExitError(
    EXIT.usage,
    `--since ${since}: expected how long ago, such as 12h or 2d, or a time such as 2026-11-28T22:00`,
  );
}

function ofTheDaemon(options: ConfigOptions): { lines: LogLine[]; owner?: number } {
  const { config } = loadForCommand(options);
  const { directory, lines, owner, problems } = daemonHistory(config, process.env);
  for (const problem of problems) complain(problem);
  if (lines.length === 0) {
    throw new ExitError(
      EXIT.failed,
      `no history of ${config.server.url} in ${directory}: has a daemon run here, as this user? That of a system unit is for root to read: sudo opencode-watchdog report. A log does as well: journalctl -u opencode-watchdog -o cat | opencode-watchdog report -`,
    );
  }
  return {
    lines: lines.map((line) => ({ ...line, server: line.server ?? config.server.url })),
    owner,
  };
}

async function ofFiles(files: readonly string[]): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  for (const file of files) {
    try {
      for await (const text of linesOf(file === '-' ? process.stdin : createReadStream(file))) {
        const line = parseLogLine(text);
        // Most lines only repeat what was logged before, and a log may cover months.
        if (line !== undefined && fileFor(line) !== undefined) lines.push(line);
      }
    } catch (error) {
      throw new ExitError(
        EXIT.usage,
        `${file}: expected a log file that can be read, but ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
  return lines.sort((a, b) => a.time - b.time);
}

/**
 * Does what readline does, but throws if the file cannot be read: readline's iterator never gets that error
 * (nodejs/node).
 */
async function* linesOf(input: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of input) {
    const parts = (rest + decoder.write(chunk)).split('\n');
    rest = parts.pop() ?? '';
    yield* parts;
  }
  yield rest;
}
