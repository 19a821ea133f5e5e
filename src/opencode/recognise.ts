/**
 * Tells which server answers, from what a few cheap routes say without a password (opencode-2-facts, section 1.2).
 * Pure.
 */
import * as z from 'zod';
import type { Unsupported } from '../watchdog/observation.js';
import { parseJson } from './parse-json.js';

/** One HTTP answer, from whatever server; `body` may be cut. */
export interface HttpAnswer {
  status: number;
  /** As it was sent; empty if there was none. */
  contentType: string;
  body: string;
}

/** A field is absent if its route gave no answer. */
export interface Answers {
  /** `GET /global/health` */
  health?: HttpAnswer;
  /** `GET /api/info` */
  info?: HttpAnswer;
  /** `GET /api/health`, asked only if `/api/info` does not exist. */
  beta?: HttpAnswer;
}

export type Recognised =
  /** OpenCode 2. `locked`: it wants a password before it says more. */
  | {
      kind: 'opencode-2';
      state: 'ready' | 'starting' | 'failed' | 'locked';
      version?: string;
    }
  /** A beta of OpenCode 2, from before 2.0: it has `/api/health` and no `/api/info`. */
  | { kind: 'opencode-2-beta'; version?: string }
  | { kind: 'opencode-1' }
  /** It is alive, and is nothing that we know. */
  | { kind: 'other' };

const infoSchema = z.object({ version: z.string(), pid: z.number() });
const unauthorizedSchema = z.object({ _tag: z.literal('UnauthorizedError') });
const codeSchema = z.object({
  code: z.enum(['service_starting', 'service_stopping', 'service_failed']),
});
const healthSchema = z.object({ healthy: z.boolean() });
/** The answer of a beta's `/api/health`, with the password or without. */
export const betaSchema = z.object({
  healthy: z.boolean(),
  version: z.string().max(100).optional().catch(undefined),
});

export function recognise({ health, info, beta }: Answers): Recognised {
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
  // 1.18 has `/api/health`, too (its preview), but answers `/api/info` with a web page and not with 404.
  const said = info?.status === 404 && beta?.status === 200 ? jsonOf(beta) : undefined;
  const { success, data } = betaSchema.safeParse(said);
  if (success) {
    const { version } = data;
    return { kind: 'opencode-2-beta', ...(version !== undefined && { version }) };
  }
  // 1.x that wants a password answers with an empty body and no content type.
  if (health?.status === 401 && health.contentType === '' && health.body === '') {
    return { kind: 'opencode-1' };
  }
  return { kind: 'other' };
}

/** Says in words what an unsupported server means for the watchdog. `answered` is the answer that made us ask. */
export function unsupportedOf(answers: Answers, answered: string): Unsupported {
  const recognised = recognise(answers);
  const info = answers.info === undefined ? '' : `, GET /api/info ${phraseOf(answers.info)}`;
  const said = { answered: `${answered}${info}` };
  if (recognised.kind === 'opencode-2-beta') return { ...said, ...betaOf(recognised.version) };
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

/** Says what it means that the server is a beta of OpenCode 2. */
export function betaOf(version: string | undefined): Omit<Unsupported, 'answered'> {
  return {
    ...(version !== undefined && { version }),
    certain: true,
    means:
      'it is a beta of OpenCode 2, from before 2.0, and betas are not watched: install 2.0 or later (npm install -g @opencode/cli)',
  };
}

/** Says what it means that the server refuses the password. Undefined if nothing more than that is known about it. */
export function refusalOf(answers: Answers): string | undefined {
  const recognised = recognise(answers);
  if (recognised.kind === 'opencode-2') return MEANS_PASSWORD;
  if (recognised.kind !== 'other' || !isPage(answers.info)) return undefined;
  return answers.info.status === 401 ? MEANS_LOCKED : undefined;
}

const MEANS_PASSWORD =
  'it is OpenCode 2, which always wants a password (OPENCODE_PASSWORD or server.passwordFile) and has one user, "opencode"';

const MEANS_OTHER =
  'it lives, so it is never restarted for that; does server.url lead to `opencode serve` itself, not to a proxy, a web page or another program?';

const MEANS_LOCKED =
  'it lives, and says nothing without the right password: OpenCode 2.0.5 to 2.0.12 answer like this (set OPENCODE_PASSWORD), and so does a proxy in front of a server';

const STATE = {
  ready: '',
  starting: ' (starting or stopping)',
  failed: ' (its start has failed: look at its own log)',
  locked: ' (it wants a password)',
} as const;

/** The state from the status of `/api/info`, whose body is always the same (opencode-2-facts, section 2). */
function stateOf(status: number): 'ready' | 'starting' | 'failed' {
  if (status === 503) return 'starting';
  return status >= 500 ? 'failed' : 'ready';
}

function phraseOf({ status, contentType }: HttpAnswer): string {
  return `${status} with ${contentType.split(';', 1)[0]?.trim().slice(0, 60) || 'no content type'}`;
}

function isPage(answer: HttpAnswer | undefined): answer is HttpAnswer {
  return answer !== undefined && /^text\/html\b/i.test(answer.contentType);
}

function jsonOf({ contentType, body }: HttpAnswer): unknown {
  if (!/^application\/([\w.+-]+\+)?json\b/i.test(contentType)) return undefined;
  return parseJson(body);
}
