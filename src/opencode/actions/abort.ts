/** Aborts one session and proves it: only its own directory's status is believed, never the answer `true` (facts, section 6). */
import { type Clock, sleep } from '../../lib/clock.js';
import type { SessionStatus } from '../../watchdog/observation.js';
import { messageOf, OpencodeError } from '../http/errors.js';
import type { ServerApi } from '../server-api.js';

/** The last look before sending must not hold up an abort for longer than this, or this share of its limit. */
const MAX_LOOK_MS = 2_000;
const LOOK_SHARE = 0.25;
/** Where the run is known to wait, the look is a courtesy to whoever ended it in the same moment, and no more. */
const SHORT_LOOK_MS = 10;
/** An abort takes effect within 50 ms as a rule (seen on 1.18.33): the first looks come quickly. */
const FIRST_LOOK_MS = 20;
const MAX_LOOK_PAUSE_MS = 250;

export interface AbortRequest {
  sessionID: string;
  /** The session's own; undefined is found out by asking. */
  directory: string | undefined;
  /** The session must be seen idle within this time after sending. */
  verifyTimeoutMs: number;
  /**
   * What the last look must show: with `retry`, a session that is busy just now is left alone, as the attempt in
   * flight may be the one that works.
   */
  expect?: 'retry' | 'active';
  /** The status of this very moment said that the next attempt is still some time away: the last look may be short. */
  waits?: boolean;
  /** Withdraws the abort as long as it is not sent. */
  signal?: AbortSignal;
  /** Ends the waiting for the verification: the daemon is told to stop. */
  stop?: AbortSignal;
  onSent?: () => void;
}

export type AbortOutcome =
  | { outcome: 'done'; tookMs: number; directory?: string }
  | { outcome: 'withdrawn'; seen: 'idle' | 'busy' | 'withdrawn' }
  | { outcome: 'failed'; error: string };

export async function abortSession(
  client: ServerApi,
  clock: Clock,
  request: AbortRequest,
): Promise<AbortOutcome> {
  const { sessionID, verifyTimeoutMs, expect = 'active', signal, stop, onSent } = request;
  const lookBeforeMs = Math.max(MAX_LOOK_MS, verifyTimeoutMs * LOOK_SHARE);
  const lookBefore = async (place: string | undefined) => {
    const looking = look(client, sessionID, place, lookBeforeMs, signal);
    if (!request.waits) return looking;
    // Not cut off: a look that is given up would take its connection along, and the abort wants one.
    const seen = new AbortController();
    const tooLate = sleep(clock, SHORT_LOOK_MS, seen.signal).then(
      () => UNSEEN,
      () => UNSEEN,
    );
    return Promise.race([looking, tooLate]).finally(() => seen.abort());
  };
  let directory = request.directory ?? (await findDirectory(client, sessionID, signal));
  let before = await lookBefore(directory);
  if (before.seen === 'idle' && request.directory !== undefined) {
    // Every directory but its own shows it as idle: only where it lives is that believed.
    const own = await findDirectory(client, sessionID, signal);
    if (own !== undefined && own !== directory) {
      directory = own;
      before = await lookBefore(own);
    }
  }
  if (signal?.aborted) return { outcome: 'withdrawn', seen: 'withdrawn' };
  // A look that failed shows nothing, and does not stop the abort.
  if (before.seen === 'idle') return { outcome: 'withdrawn', seen: 'idle' };
  if (before.seen === 'busy' && expect === 'retry') return { outcome: 'withdrawn', seen: 'busy' };

  const sentAt = clock.now();
  const end = sentAt + verifyTimeoutMs;
  const answer = send(client, sessionID, directory, verifyTimeoutMs);
  onSent?.();
  let last = before;
  for (let pause = FIRST_LOOK_MS; ; pause = Math.min(MAX_LOOK_PAUSE_MS, pause * 2)) {
    const left = end - clock.now();
    if (left <= 0) break;
    await sleep(clock, Math.min(pause, left), stop).catch(() => {});
    if (stop?.aborted) break;
    const lookMs = Math.max(MAX_LOOK_PAUSE_MS, end - clock.now());
    const seen = await look(client, sessionID, directory, lookMs, stop);
    // What could not be read says less than what was read before.
    if (seen.seen !== 'nothing') last = seen;
    if (last.seen === 'idle') {
      return {
        outcome: 'done',
        tookMs: Math.round(clock.now() - sentAt),
        ...(directory !== undefined && { directory }),
      };
    }
    // Where no status can be had, this is all the proof there is (1.0.0).
    if (last.seen === 'nothing' && answer.nothingRan) return { outcome: 'withdrawn', seen: 'idle' };
    // Nobody listens, or nobody lets us in: it will not get better in this try.
    if (answer.hopeless) return { outcome: 'failed', error: answer.words };
  }
  const tookMs = Math.round(clock.now() - sentAt);
  return {
    outcome: 'failed',
    error: `${last.words}, ${tookMs} ms after the abort ${answer.words}`,
  };
}

interface Look {
  seen: SessionStatus['type'] | 'nothing';
  words: string;
}

const UNSEEN: Look = { seen: 'nothing', words: 'its status was not read in time' };

async function look(
  client: ServerApi,
  sessionID: string,
  directory: string | undefined,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<Look> {
  try {
    const status = (await client.statuses(directory, signal, timeoutMs)).get(sessionID);
    return { seen: status?.type ?? 'idle', words: describe(status) };
  } catch (error) {
    return { seen: 'nothing', words: `its status could not be read (${messageOf(error)})` };
  }
}

function describe(status: SessionStatus | undefined): string {
  return status?.type === 'retry'
    ? `still retry, attempt ${status.attempt}`
    : `still ${status?.type ?? 'idle'}`;
}

interface Answer {
  /** What came of the request so far. */
  words: string;
  hopeless: boolean;
  /** The server said that there was no run to end. */
  nothingRan: boolean;
}

/** Sends without waiting: an abort that hangs may have worked, and the status will show it. */
function send(
  client: ServerApi,
  sessionID: string,
  directory: string | undefined,
  timeoutMs: number,
): Answer {
  const answer: Answer = {
    words: 'was sent and not answered',
    hopeless: false,
    nothingRan: false,
  };
  const post = () => client.abort(sessionID, directory, undefined, timeoutMs);
  const onError = (error: unknown) => {
    if (error instanceof OpencodeError && error.kind === 'timeout') return;
    answer.words = `failed: ${messageOf(error)}`;
    answer.hopeless =
      error instanceof OpencodeError && (error.kind === 'refused' || error.kind === 'unauthorized');
  };
  post()
    // An idle connection that the server closed in the same moment: once more, on a new one.
    .catch((error: unknown) => {
      if (error instanceof OpencodeError && error.kind === 'network') return post();
      throw error;
    })
    .then((said) => {
      answer.words = 'was answered';
      answer.nothingRan = said === 'nothing_ran';
    })
    .catch(onError);
  return answer;
}

/** Undefined where it cannot be had: the server's own directory is the best guess then. */
async function findDirectory(
  client: ServerApi,
  sessionID: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  try {
    return (await client.session(sessionID, undefined, signal))?.directory;
  } catch {
    // The look that follows will meet the same trouble, and say so.
    return undefined;
  }
}
