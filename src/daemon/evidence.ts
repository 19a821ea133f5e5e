/**
 * Gathers what is seen of a server just before a restart ends it, so that people can find out later why it hung or
 * grew.
 *
 * The restart waits for it, but never longer than `MAX_DELAY_MS`. What takes longer is finished beside the restart.
 */
import { cpus, freemem, loadavg, release, totalmem } from 'node:os';
import { type Clock, sleep } from '../lib/clock.js';
import type { ServerControl } from '../process/control/control.js';
import type { EvidenceSession, EvidenceStore, ServerEvidence } from '../status/evidence-store.js';
import type { ServerFacts, SessionFacts } from '../status/source.js';
import type { Telemetry } from '../telemetry/logger.js';
import type { RestartReason } from '../watchdog/decision.js';

/** Reading takes about 50 ms, even for a large process tree. */
const MAX_DELAY_MS = 1_000;
/** Open sessions in the evidence of an incident. At the limit: the rest are left out. */
const MAX_SESSIONS = 200;

/**
 * The reasons that evidence is gathered for. A server that ended by itself shows nothing any more, and the other
 * reasons have nothing to do with the process.
 */
const WANTED: ReadonlySet<RestartReason> = new Set(['unresponsive', 'memory', 'processes']);

export interface EvidenceOptions {
  store: Pick<EvidenceStore, 'write'>;
  control: Pick<ServerControl, 'examine'>;
  clock: Clock;
  telemetry: Telemetry;
  server(): ServerFacts;
  sessions(): SessionFacts[];
}

export class Evidence {
  readonly #o: EvidenceOptions;
  /** Evidence was gathered already for the present incident. */
  #isGathered = false;

  constructor(options: EvidenceOptions) {
    this.#o = options;
  }

  /** To be called when the server is healthy: the next restart belongs to another incident. */
  incidentIsOver(): void {
    this.#isGathered = false;
  }

  /** Settles when the evidence is written, or after `MAX_DELAY_MS`. Never rejects. */
  async gather(reason: RestartReason): Promise<void> {
    if (!WANTED.has(reason) || this.#isGathered) return;
    this.#isGathered = true;
    const done = new AbortController();
    const work = this.#gather(reason).finally(() => done.abort());
    await Promise.race([
      work,
      sleep(this.#o.clock, MAX_DELAY_MS, done.signal).catch(() => undefined),
    ]);
  }

  async #gather(reason: RestartReason): Promise<void> {
    const { store, clock, telemetry } = this.#o;
    const began = clock.now();
    try {
      const folder = await store.write(await this.#see(reason));
      telemetry.emit('server.evidence', { reason, folder, tookMs: clock.now() - began });
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      const notice = `what was seen of the server before its restart is not kept: ${words}`;
      telemetry.emit('server.notice', { severity: 'warn', notice });
    }
  }

  async #see(reason: RestartReason): Promise<ServerEvidence> {
    const { control, clock, server, sessions } = this.#o;
    const { version, api, pid } = server();
    const { processes, output = [] } = (await control.examine?.()) ?? {};
    return {
      time: new Date(clock.epoch()).toISOString(),
      reason,
      opencode: {
        ...(version !== undefined && { version }),
        ...(api !== undefined && { api }),
        ...(pid !== undefined && { pid }),
      },
      machine: {
        system: `${process.platform} ${release()} ${process.arch}`,
        cpus: cpus().length,
        load: loadavg().map((load) => Math.round(load * 100) / 100),
        freeBytes: freemem(),
        totalBytes: totalmem(),
      },
      sessions: sessions().slice(0, MAX_SESSIONS).map(sessionOf),
      ...(processes && { processes }),
      output,
    };
  }
}

/** What a developer of opencode can use, without titles and directories: these belong to the user. */
function sessionOf(session: SessionFacts): EvidenceSession {
  const { sessionID: id, parentID, health, model, tool, message, attempt, steps } = session;
  const { toolForMs, runForMs } = session;
  return {
    id,
    health,
    forMs: Math.round(session.forMs),
    ...(parentID !== undefined && { parentID }),
    ...(runForMs !== undefined && { runForMs: Math.round(runForMs) }),
    ...(steps !== undefined && { steps }),
    ...(attempt !== undefined && { attempt }),
    ...(model !== undefined && { model }),
    ...(tool !== undefined && { tool }),
    ...(toolForMs !== undefined && { toolForMs: Math.round(toolForMs) }),
    ...(message !== undefined && { message }),
  };
}
