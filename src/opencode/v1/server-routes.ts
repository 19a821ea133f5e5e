/**
 * Keeps track of the opencode routes that a server lacks.
 *
 * One bad answer proves nothing: a 500 or a 503 may be a brief failure of the server or its proxy. Only an answer that
 * says "no such route" counts, and the route is asked for again later, because another version may serve there by then.
 */
import type { Clock } from '../../lib/clock.js';
import { OpencodeError } from '../http/errors.js';

/** A missing route is asked for again after this time. */
export const RECHECK_ROUTE_MS = 10 * 60_000;
/** From this version on, unknown routes answer 200 with the web app; before it, 500 with JSON (facts, section 2). */
const FIRST_WITH_WEB_APP = [1, 14] as const;
/** `/global/health` answers 500 in 1.0.185 (facts, section 2). Any server may do so, but not this often in a row. */
const HEALTH_500S = 3;

/** 404, 405, or the web app's page with 200: there is no such route, whatever the version. */
export function saysNoSuchRoute(error: unknown): boolean {
  if (!(error instanceof OpencodeError)) return false;
  if (error.kind === 'not_opencode') return /\banswered 200 with text\/html\b/.test(error.message);
  return error.kind === 'http' && (error.statusCode === 404 || error.statusCode === 405);
}

export class ServerRoutes {
  readonly #clock: Clock;
  readonly #missing = new Map<string, { until: number }>();
  #version: string | undefined;
  #lacksHealth = false;
  #health500s = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The health route has given a good answer. */
  healthTold(version: string | undefined): void {
    this.#version = version;
    this.#lacksHealth = false;
    this.#health500s = 0;
  }

  /** The health route has failed with this error, while another route gives good answers. */
  healthFailed(error: unknown): void {
    if (saysNoSuchRoute(error)) this.#lacksHealth = true;
    else if (statusOf(error) === 500) this.#health500s += 1;
    if (this.#health500s >= HEALTH_500S) this.#lacksHealth = true;
  }

  /** Whether unknown routes answer 500 here: the version says so, or there is no health route, as before 1.1. */
  get answers500(): boolean {
    return this.#version === undefined ? this.#lacksHealth : isBefore(this.#version);
  }

  /** Whether the error says that this server has no such route. */
  isMissing(error: unknown): boolean {
    return saysNoSuchRoute(error) || (this.answers500 && statusOf(error) === 500);
  }

  /** From now on the route is not asked for a while. */
  remember(route: string): void {
    this.#missing.set(route, { until: this.#clock.now() + RECHECK_ROUTE_MS });
  }

  lacks(route: string): boolean {
    const known = this.#missing.get(route);
    return known !== undefined && this.#clock.now() < known.until;
  }

  /** Called for a new server process, which may be another version. */
  forget(): void {
    this.#missing.clear();
    this.#version = undefined;
    this.#lacksHealth = false;
    this.#health500s = 0;
  }
}

function statusOf(error: unknown): number | undefined {
  return error instanceof OpencodeError && error.kind === 'http' ? error.statusCode : undefined;
}

function isBefore(version: string): boolean {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  if (major === undefined || minor === undefined) return false;
  const [firstMajor, firstMinor] = FIRST_WITH_WEB_APP;
  return Number(major) < firstMajor || (Number(major) === firstMajor && Number(minor) < firstMinor);
}
