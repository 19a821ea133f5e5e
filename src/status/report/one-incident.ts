/** One incident with its evidence: what the log says about its session, or about the server, around that time. */
import { printableDeep } from '../../lib/printable.js';
import type { LogLine } from '../../telemetry/log-line.js';
import { time } from '../../telemetry/number-text.js';
import { reasonWords } from '../../telemetry/reason-words.js';
import { readEvidence, type ServerEvidence } from '../evidence-store.js';
import type { Report } from './collect.js';
import { dateOf, hourOf, nameOf } from './text.js';

type ReportedIncident = Report['incidents'][number];

const BEFORE_MS = 10 * 60_000;
const AFTER_MS = 60_000;
/** How many log lines are shown as evidence, the newest ones. */
const LINES = 60;

export interface Evidence {
  incident: ReportedIncident;
  lines: { time: string; event: string; msg: string }[];
  /** The server's state before its restart, if the incident names a folder with it. */
  server?: ServerEvidence | { why: string };
}

/** @param id the whole id, or as much of its end as is enough */
export function findIncident(report: Report, id: string): ReportedIncident[] {
  const wanted = id.replace(/^#/, '');
  const exact = report.incidents.filter((each) => String(each.id) === wanted);
  return exact.length > 0
    ? exact
    : report.incidents.filter((each) => String(each.id).endsWith(wanted));
}

/** @param owner the uid of the daemon whose incident it is; ours if it is left out */
export function evidenceOf(
  incident: ReportedIncident,
  lines: readonly LogLine[],
  owner?: number,
): Evidence {
  const from = Date.parse(incident.startedAt) - BEFORE_MS;
  const until =
    incident.endedAt === undefined
      ? Number.POSITIVE_INFINITY
      : Date.parse(incident.endedAt) + AFTER_MS;
  const isAbout = ({ event, fields }: LogLine) =>
    fields.sessionID === incident.sessionID &&
    (incident.sessionID !== undefined || /^(server|provider|act|daemon)\./.test(event));
  const { evidence: folder } = incident;
  return {
    incident,
    ...(folder !== undefined && { server: readEvidence(folder, owner) }),
    lines: lines
      .filter((line) => line.time >= from && line.time <= until && isAbout(line))
      .slice(-LINES)
      .map((line) => ({
        time: new Date(line.time).toISOString(),
        event: line.event,
        msg: line.msg,
      })),
  };
}

/** The incident as text: a head, and a row for each line of the log. */
export function incidentLines(evidence: Evidence): { head: string[]; rows: string[] } {
  const { incident, lines } = printableDeep(evidence);
  const { id, kind, reason, startedAt, endedAt, outcome, session, says } = incident;
  const lasted = endedAt === undefined ? undefined : Date.parse(endedAt) - Date.parse(startedAt);
  return {
    head: [
      `Incident #${id}: ${kind.replace('_', ' ')}${reason === undefined ? '' : ` (${reasonWords(reason)})`}`,
      ...(session === undefined
        ? []
        : [
            `Session: ${nameOf(session)}, ${session.id}${session.directory === undefined ? '' : `, in ${session.directory}`}`,
          ]),
      `From ${dateOf(startedAt)} ${hourOf(startedAt)}: ${lasted === undefined ? 'open' : `${outcome} after ${time(lasted)}`}`,
      says,
    ],
    rows: lines.map(({ time: at, event, msg }) => `${secondsOf(at)}  ${event}  ${msg}`),
  };
}

function secondsOf(iso: string): string {
  return `${hourOf(iso)}:${String(new Date(iso).getSeconds()).padStart(2, '0')}`;
}
