/** The topic that an event opens or closes, if any: a webhook that was told of the beginning is told of the end. */
import type { TelemetryRecord } from '../logger.js';

/** Events that come all the time. A webhook gets one of them only if it asks for it by its full name. */
export const CHATTER: ReadonlySet<string> = new Set([
  'session.health',
  'server.output',
  'server.notice',
]);

export interface Topic {
  key: string;
  is: 'open' | 'closed';
}

export function topicOf(record: TelemetryRecord): Topic | undefined {
  switch (record.event) {
    case 'session.stuck':
    case 'session.wedged':
      return { key: `stuck ${record.fields.sessionID}`, is: 'open' };
    case 'session.aborted':
    case 'session.recovered':
      return { key: `stuck ${record.fields.sessionID}`, is: 'closed' };
    case 'session.waiting':
      return { key: `waiting ${record.fields.requestID}`, is: 'open' };
    case 'session.answered':
      return { key: `waiting ${record.fields.requestID}`, is: 'closed' };
    case 'server.unresponsive':
    case 'server.exited':
    case 'server.unauthorized':
    case 'server.unsupported':
      return { key: 'server', is: 'open' };
    case 'server.restarted':
    case 'server.healthy':
      return { key: 'server', is: 'closed' };
    case 'server.breaker_open':
      return { key: 'breaker', is: 'open' };
    case 'server.breaker_closed':
      return { key: 'breaker', is: 'closed' };
    case 'provider.outage':
      return { key: `provider ${record.fields.provider}/${record.fields.model}`, is: 'open' };
    case 'provider.back':
      return { key: `provider ${record.fields.provider}/${record.fields.model}`, is: 'closed' };
    default:
      return undefined;
  }
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
