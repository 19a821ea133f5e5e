/** The frames of `/api/event` as OpenCode 2 writes them (opencode-2-facts, sections 3.2 and 3.3). */
import { type Frame, json, newId, type Place } from '../frames.js';

/** Events without a directory. */
const BARE = /^session\.(execution\.|usage\.updated|viewed)/;
/** Events that are not stored. */
const EPHEMERAL = /\.(delta|progress)$|^(permission|form)\.|usage\.updated/;

let seq = 0;

/** For what this API has no frame for. */
export const NOTHING: Frame = Object.freeze({ text: '', count: 0 });

export function frame({ id, directory }: Place, type: string, data: object): Frame {
  const where = BARE.test(type) ? '' : `"location":{"directory":"${directory}"},`;
  seq += 1;
  const durable = EPHEMERAL.test(type)
    ? ''
    : `,"durable":{"aggregateID":"${id}","seq":${seq},"version":1}`;
  const said = type === 'form.created' ? data : { sessionID: id, ...data };
  return {
    text:
      `data: {"id":"${newId('evt')}","created":${Date.now()},"type":"${type}",${where}` +
      `"data":${json(said)}${durable}}\n\n`,
    count: 1,
  };
}

export function together(...frames: readonly Frame[]): Frame {
  return {
    text: frames.map(({ text }) => text).join(''),
    count: frames.reduce((sum, { count }) => sum + count, 0),
  };
}

export const CONNECTED = 'data: {"id":"evt_0","type":"server.connected","data":{}}\n\n';
export const HEARTBEAT = ': heartbeat\n\n';
