/**
 * A stream as opencode 1.18.33 writes it while several sessions answer at once. The frames are real (those of the unit
 * tests), with ids and texts replaced. Each answer has the frames of a captured one, in the captured order.
 */
import { realEvents } from '../test/unit/opencode/real-events.js';

/** Deltas of one answer, reasoning and text, before its step ends. Its 41 other frames are as captured. */
const DELTAS_PER_ANSWER = 1_000;
/** Sessions that answer at the same time. */
const SESSIONS = 8;
const DIRECTORIES = ['/home/me/code/api', '/home/me/code/web', '/srv/projects/opencode-watchdog'];
/** opencode sends a heartbeat every 10 s. At the rate of these sessions that is one in this many deltas. */
const DELTAS_PER_HEARTBEAT = 4_000;

export interface Sent {
  frames: string[];
  deltas: number;
}

/** The same numbers in each run, so that the streams are comparable. */
function* numbers(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}
const random = numbers(8);
const next = () => random.next().value as number;
const LETTERS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const letters = (count: number) =>
  Array.from({ length: count }, () => LETTERS[Math.floor(next() * LETTERS.length)]).join('');
const newId = (prefix: string) => `${prefix}_2036dd7c${letters(18)}`;
const WORDS = [
  'the',
  ' function',
  ' of',
  ' a',
  ' \\n\\n',
  ' const',
  ' watch',
  'dog',
  ' (',
  ');',
  ' ü',
];

export const sessions = Array.from({ length: SESSIONS }, (_, index) => ({
  id: newId('ses'),
  directory: DIRECTORIES[index % DIRECTORIES.length] as string,
}));

/** Frames of the interleaved sessions, with at least `deltas` deltas. Each session is in the middle of its work. */
export function makeFrames(deltas: number): Sent {
  const frames: string[] = [];
  const running = sessions.map((session) => answers(session));
  let count = 0;
  while (count < deltas) {
    const of = running[Math.floor(next() * running.length)];
    // Tokens of an answer come in small bursts.
    for (let burst = 1 + Math.floor(next() * 3); burst > 0 && of; burst -= 1) {
      const { text, isDelta } = of.next().value as Frame;
      frames.push(text);
      if (!isDelta) continue;
      count += 1;
      if (count % DELTAS_PER_HEARTBEAT === 0) frames.push(write('server.heartbeat', {}));
    }
  }
  return { frames, deltas: count };
}

interface Frame {
  text: string;
  isDelta: boolean;
}

type Session = (typeof sessions)[number];

/** One answer after the other, with the frames before and after each. */
function* answers({ id: sessionID, directory }: Session): Generator<Frame> {
  for (;;) {
    const [user, assistant, part] = [newId('msg'), newId('msg'), newId('prt')];
    const common = { sessionID, directory };
    const frame = (name: string, change: Change = {}): Frame => ({
      text: write(name, { ...common, ...change }),
      isDelta: name === 'message.part.delta',
    });
    const synced = function* (name: string, change: Change = {}) {
      yield frame(name, change);
      yield frame('sync', change);
    };
    yield* synced('session.updated');
    yield* synced('message.updated:user', { messageID: user });
    yield* synced('message.part.updated:text:', { messageID: user, partID: newId('prt') });
    yield* synced('session.updated');
    yield frame('session.status:busy');
    yield* synced('message.updated:assistant', { messageID: assistant });
    yield* synced('session.updated');
    yield frame('session.diff');
    yield* synced('message.updated:user', { messageID: user });
    yield frame('session.status:busy');
    yield* synced('message.part.updated:step-start:', { messageID: assistant });
    yield* synced('message.part.updated:text::timed', { messageID: assistant, partID: part });
    let text = '';
    for (let index = 0; index < DELTAS_PER_ANSWER; index += 1) {
      const delta = WORDS[Math.floor(next() * WORDS.length)] as string;
      text += delta;
      yield frame('message.part.delta', { messageID: assistant, partID: part, text: delta });
    }
    yield* synced('message.part.updated:text::timed', { messageID: assistant, partID: part, text });
    yield* synced('message.part.updated:step-finish:', { messageID: assistant });
    yield* synced('message.updated:assistant:done', { messageID: assistant });
    yield* synced('message.updated:assistant:done', { messageID: assistant });
    yield frame('session.status:busy');
    yield frame('session.status:idle');
    yield frame('session.idle');
    yield* synced('session.updated');
    yield frame('session.diff');
    yield* synced('message.updated:user', { messageID: user });
  }
}

interface Change {
  sessionID?: string;
  directory?: string;
  messageID?: string;
  partID?: string;
  text?: string;
}

/** The captured event as a frame, with this stream's ids and texts. */
function write(name: string, change: Change): string {
  const { sessionID, directory, messageID, partID, text } = change;
  const event = realEvents[name];
  if (!event) throw new Error(`no captured event ${name}`);
  const json = JSON.stringify(event, (key, value: unknown) => {
    switch (key) {
      case 'sessionID':
      case 'aggregateID':
        return sessionID ?? value;
      case 'messageID':
        return messageID ?? value;
      case 'partID':
        return partID ?? value;
      case 'delta':
      case 'text':
        return text ?? value;
      case 'directory':
      case 'cwd':
        return directory ?? value;
      case 'id':
        return ownId(String(value), sessionID, messageID, partID);
      default:
        return value;
    }
  });
  return `data: ${json}\n\n`;
}

/** The prefix of an `id` tells what it identifies. */
function ownId(old: string, sessionID?: string, messageID?: string, partID?: string): string {
  if (old.startsWith('evt_')) return newId('evt');
  if (old.startsWith('ses_')) return sessionID ?? old;
  if (old.startsWith('msg_')) return messageID ?? old;
  if (old.startsWith('prt_')) return partID ?? newId('prt');
  return old;
}
