/**
 * The frames of `/global/event` as opencode 1.18.33 writes them, made from templates, because 2,000 a second must cost
 * this process little. What opencode keeps on disk (sessions, messages, parts) is repeated as a `sync` frame, as in
 * opencode.
 */

export interface Frame {
  /** One frame, several, or none if this API has no frame for it. */
  text: string;
  /** How many frames. */
  count: number;
  /** The repetition that follows, if opencode sends one. */
  sync?: string;
}

export interface Place {
  /** The session's id. */
  id: string;
  directory: string;
}

let last = 0;
/** Makes ids as long as opencode's: `evt_2036dd30f001f3ayjChaV5L70x`. */
export function newId(kind: string): string {
  last += 1;
  return `${kind}_${last.toString(36).padStart(12, '0')}f3ayjChaV5L70x`;
}

const envelope = (directory: string, payload: string) =>
  `data: {"directory":"${directory}","project":"global","payload":${payload}}\n\n`;

function once({ directory }: Place, type: string, properties: string): Frame {
  return {
    text: envelope(
      directory,
      `{"id":"${newId('evt')}","type":"${type}","properties":${properties}}`,
    ),
    count: 1,
  };
}

function kept({ id, directory }: Place, type: string, properties: string): Frame {
  const event = newId('evt');
  return {
    text: envelope(directory, `{"id":"${event}","type":"${type}","properties":${properties}}`),
    count: 1,
    sync: envelope(
      directory,
      `{"type":"sync","syncEvent":{"id":"${event}","type":"${type}.1","seq":${last},` +
        `"aggregateID":"${id}","data":${properties}},"id":"${event}"}`,
    ),
  };
}

export const json = JSON.stringify;

export const delta = (place: Place, messageID: string, partID: string, text: string): Frame =>
  once(
    place,
    'message.part.delta',
    `{"sessionID":"${place.id}","messageID":"${messageID}","partID":"${partID}","field":"text","delta":${json(text)}}`,
  );

export const status = (place: Place, value: string): Frame =>
  once(place, 'session.status', `{"sessionID":"${place.id}","status":${value}}`);

export const idle = (place: Place): Frame =>
  once(place, 'session.idle', `{"sessionID":"${place.id}"}`);

export const diff = (place: Place): Frame =>
  once(place, 'session.diff', `{"sessionID":"${place.id}","diff":[]}`);

export const error = (place: Place, value: object): Frame =>
  once(place, 'session.error', `{"sessionID":"${place.id}","error":${json(value)}}`);

export const sessionEvent = (
  place: Place,
  what: 'created' | 'updated' | 'deleted',
  info: string,
): Frame => kept(place, `session.${what}`, `{"sessionID":"${place.id}","info":${info}}`);

export const compacted = (place: Place): Frame =>
  once(place, 'session.compacted', `{"sessionID":"${place.id}"}`);

export const message = (place: Place, info: string): Frame =>
  kept(place, 'message.updated', `{"sessionID":"${place.id}","info":${info}}`);

export const part = (place: Place, value: string): Frame =>
  kept(
    place,
    'message.part.updated',
    `{"sessionID":"${place.id}","part":${value},"time":${Date.now()}}`,
  );

export const asked = (place: Place, kind: 'permission' | 'question', request: string): Frame =>
  once(place, `${kind}.asked`, request);

export const replied = (place: Place, kind: 'permission' | 'question', requestID: string): Frame =>
  once(
    place,
    `${kind}.replied`,
    `{"sessionID":"${place.id}","requestID":"${requestID}","reply":"once","answers":[["yes"]]}`,
  );

export const connected = (): string =>
  `data: {"payload":{"id":"${newId('evt')}","type":"server.connected","properties":{}}}\n\n`;

export const heartbeat = (): string =>
  `data: {"payload":{"id":"${newId('evt')}","type":"server.heartbeat","properties":{}}}\n\n`;
