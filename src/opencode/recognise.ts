/** What answers there: read from what two cheap routes say without a password (opencode-2-facts, section 1.2). Pure. */
import * as z from 'zod';
import type { Unsupported } from '../watchdog/observation.js';

/** One answer over HTTP, whatever it is; `body` may be cut. */
export interface HttpAnswer {
  status: number;
  /** As it was sent; empty where there was none. */
  contentType: string;
  body: string;
}

/** Absent where the route gave no answer. */
export interface Answers {
  /** `GET /global/health` */
  health?: HttpAnswer;
  /** `GET /api/info` */
  info?: HttpAnswer;
}

export type Recognised =
  /** OpenCode 2. `locked`: it wants a password before it says more. */
  | {
      kind: 'opencode-2';
      state: 'ready' | 'starting' | 'failed' | 'locked';
      version?: string;
    }
  | { kind: 'opencode-1' }
  /** It lives, and is none that we know. */
  | { kind: 'other' };

const infoSchema = z.object({ version: z.string(), pid: z.number() });
const unauthorizedSchema = z.object({ _tag: z.literal('UnauthorizedError') });
const codeSchema = z.object({
  code: z.enum(['service_starting', 'service_stopping', 'service_failed']),
});
const healthSchema = z.object({ healthy: z.boolean() });

export function recognise({ health, info }: Answers): Recognised {
  const json = info && jsonOf(info);
  const facts = infoSchema.safeParse(json);
  if (info !== undefined && facts.success) {
    return { kind: 'opencode-2', state: stateOf(info.status), version: facts.data.version };
  }
  if (info?.status === 401 && unauthorizedSchema.safeParse(json).success) {
    return { kind: 'opencode-2', state: 'locked' };
  }
  for (const answer of [info, health]) {
    const said = answer === undefined ? undefined : codeSchema.safeParse(jsonOf(answer)).data;
    if (said === undefined) continue;
    const state = said.code === 'service_failed' ? 'failed' : 'starting';
    return { kind: 'opencode-2', state };
  }
  if (health?.status === 200 && healthSchema.safeParse(jsonOf(health)).success) {
    return { kind: 'opencode-1' };
  }
  // 1.x with a password: empty, and without a content type.
  if (health?.status === 401 && health.contentType === '' && health.body === '') {
    return { kind: 'opencode-1' };
  }
  return { kind: 'other' };
}

/** What it means for the watch, in words. `answered` is what made somebody ask. */
export function unsupportedOf(answers: Answers, answered: string): Unsupported {
  const recognised = recognise(answers);
  const info = answers.info === undefined ? '' : `, GET /api/info ${phraseOf(answers.info)}`;
  const said = { answered: `${answered}${info}` };
  if (recognised.kind !== 'opencode-2') {
    return { ...said, means: answers.info?.status === 401 ? MEANS_LOCKED : MEANS_OTHER };
  }
  const { state, version } = recognised;
  const name = version === undefined ? 'OpenCode 2' : `OpenCode ${version}`;
  return {
    ...said,
    ...(version !== undefined && { version }),
    ...(state === 'starting' ? { starting: true } : { certain: true }),
    means: `it is ${name}${STATE[state]}, and was asked by the API of 1.x: its sessions are not watched by that, and it is never restarted for it`,
  };
}

const MEANS_OTHER =
  'it lives, so it is never restarted for that; does server.url lead to `opencode serve` itself, not to a proxy, a web page or another program?';

const MEANS_LOCKED =
  'it lives, and says nothing without the right password: OpenCode 2.0.5 to 2.0.12 answer so (set OPENCODE_PASSWORD), and so does a proxy in front of it';

const STATE = {
  ready: '',
  starting: ' (starting or stopping)',
  failed: ' (its start has failed: look at its own log)',
  locked: ' (it wants a password)',
} as const;

/** On `/api/info` (opencode-2-facts, section 2): the same body with each status. */
function stateOf(status: number): 'ready' | 'starting' | 'failed' {
  if (status === 503) return 'starting';
  return status >= 500 ? 'failed' : 'ready';
}

function phraseOf({ status, contentType }: HttpAnswer): string {
  return `${status} with ${contentType.split(';', 1)[0]?.trim().slice(0, 60) || 'no content type'}`;
}

function jsonOf({ contentType, body }: HttpAnswer): unknown {
  if (!/^application\/([\w.+-]+\+)?json\b/i.test(contentType)) return undefined;
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return undefined;
  }
}
