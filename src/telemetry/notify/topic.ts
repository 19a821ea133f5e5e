/** The topic that an event opens or closes, if any: a webhook that was told of the beginning is told of the end. */
import { joinModelName } from '../../watchdog/model-name.js';
import type { TelemetryRecord } from '../logger.js';

/** Events that come all the time. A webhook gets one of them only if it asks for it by its full name. */
export const CHATTER: ReadonlySet<string> = new Set([
  'session.health',
  'server.output',
  'server.notice',
]);

export type Topic =
  | { is: 'open'; key: string }
  /** `ends`: whether the topic with this key is over. */
  | { is: 'closed'; ends: (key: string) => boolean };

export function topicOf(record: TelemetryRecord): Topic | undefined {
  switch (record.event) {
    case 'session.stuck':
      // It is over with the answer, or with the last of several.
      if (record.fields.reason === 'waiting') return open(of(record, 'waiting'));
      return open(of(record, 'stuck'));
    case 'session.wedged':
      return open(of(record, 'stuck'));
    case 'session.aborted':
    case 'session.recovered':
      return closed(of(record, 'stuck'), of(record, 'waiting'));
    case 'session.waiting':
      return open(of(record, `request ${record.fields.requestID}`));
    case 'session.answered': {
      const request = of(record, `request ${record.fields.requestID}`);
      const { overdue = 0 } = record.fields;
      return overdue > 0 ? closed(request) : closed(request, of(record, 'waiting'));
    }
    case 'session.ended': {
      // A dispose or a restart may have ended it, and a request need not be answered.
      const all = of(record, '');
      return { is: 'closed', ends: (key) => key.startsWith(all) };
    }
    case 'server.unresponsive':
    case 'server.exited':
    case 'server.unauthorized':
    case 'server.unsupported':
      return open('server');
    case 'server.restarted':
    case 'server.healthy':
      return closed('server');
    case 'server.breaker_open':
      return open('breaker');
    case 'server.breaker_closed':
      return closed('breaker');
    case 'provider.outage':
      return open(`provider ${joinModelName(record.fields)}`);
    case 'provider.back':
      return closed(`provider ${joinModelName(record.fields)}`);
    default:
      return undefined;
  }
}

function open(key: string): Topic {
  return { is: 'open', key };
}

function closed(...keys: string[]): Topic {
  return { is: 'closed', ends: (key) => keys.includes(key) };
}

/** The key of one of a session's topics. */
function of({ fields }: { fields: { sessionID: string } }, what: string): string {
  return `session ${fields.sessionID} ${what}`;
}

/** What a person may have to get up for. It is sent soon, even in quiet hours. */
export function isUrgent({ event, level }: TelemetryRecord): boolean {
  return (
    level === 'error' ||
    event === 'session.stuck' ||
    event === 'session.wedged' ||
    event === 'session.waiting'
  );
}
