/** Hand-made evidence: a short story of a run, told to the judge. */
import type { Emit, Evidence, LogLine, Process } from '../../../chaos/evidence.js';
import { Judge } from '../../../chaos/judge.js';
import type { KindName } from '../../../chaos/kinds.js';
import { LONG } from '../../../chaos/limits.js';
import type { FaultName } from '../../../chaos/schedule.js';

export const SECRETS = { 'server password': 'canary-password-1', 'provider key': 'sk-canary-2' };
export const SERVER: Process = { pid: 100, start: 1_000, command: 'opencode serve' };
export const NEXT_SERVER: Process = { pid: 200, start: 2_000, command: 'opencode serve' };
const SLACK_MS = 10_000;
export const RECOVER_MS = 60_000;

export class Story {
  readonly judge = new Judge({
    limits: LONG,
    secrets: SECRETS,
    slackMs: SLACK_MS,
    recoverMs: RECOVER_MS,
  });
  /** ms */
  now = 1_000_000;
  #fault = 0;

  /** A daemon and a server run, and all is well. */
  constructor() {
    this.tell({ kind: 'daemon.started', generation: 1, pid: 50 });
    this.log('server.starting');
    this.tell({ kind: 'servers', processes: [SERVER] });
    this.tell({ kind: 'excuses', excuses: [] });
    this.tell({ kind: 'ready', ready: true });
  }

  readonly tell: Emit = (e) => this.judge.take({ at: this.now, ...e } as Evidence);

  /** Time passes, and is looked at. */
  wait(seconds: number): this {
    for (let i = 0; i < seconds; i++) {
      this.now += 1_000;
      this.tell({ kind: 'tick' });
    }
    return this;
  }

  log(event: string, fields: Partial<LogLine> = {}, generation = 1): this {
    const line: LogLine = {
      event,
      level: 'info',
      time: new Date(this.now).toISOString(),
      msg: `${event}.`,
      server: 'http://127.0.0.1:1',
      ...fields,
    };
    this.tell({ kind: 'log', generation, line });
    return this;
  }

  session(scenario: KindName, sessionID = `ses_${scenario}`): string {
    const title = scenario;
    this.tell({ kind: 'session.known', sessionID, title, scenario, child: false });
    this.tell({ kind: 'session.begun', sessionID });
    return sessionID;
  }

  /** Declared, announced, sent, and ended. */
  abort(sessionID: string, reason: string): this {
    this.log('session.stuck', { sessionID, reason });
    this.log('session.aborting', { sessionID, reason, try: 1 });
    this.tell({ kind: 'wire.abort', sessionID });
    this.log('session.aborted', { sessionID, reason, try: 1 });
    this.tell({ kind: 'session.ended', sessionID, finish: 'error' });
    return this;
  }

  begin(fault: FaultName): number {
    const id = ++this.#fault;
    this.tell({ kind: 'fault.begun', fault, id });
    return id;
  }

  over(fault: FaultName, id: number, broken?: string): void {
    this.tell({ kind: 'fault.ended', fault, id, ...(broken && { broken }) });
  }

  /** The laws that were broken, each once, with what they say. */
  broken(): string[] {
    this.judge.finish(this.now);
    return this.judge.violations.map(({ law, what }) => `${law}: ${what}`);
  }
}
