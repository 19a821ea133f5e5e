/** The loop: senses → watchdog → hands, one observation at a time, and one timer for every deadline. */
import type { Config } from './config/schema.js';
import { Hands } from './hands.js';
import type { SystemClock, Timer } from './lib/clock.js';
import type { OpencodeClient } from './opencode/client.js';
import { Senses } from './opencode/senses.js';
import type { ServerControl } from './process/control.js';
import type { Recorder } from './recording/recorder.js';
import { Report } from './report.js';
import { every } from './schedule.js';
import type { Telemetry } from './telemetry/logger.js';
import { isNote } from './watchdog/decision.js';
import type { Observation } from './watchdog/observation.js';
import { Watchdog } from './watchdog/watchdog.js';

export interface LoopOptions {
  config: Config;
  telemetry: Telemetry;
  clock: SystemClock;
  client: OpencodeClient;
  control: ServerControl;
  recorder: Recorder | undefined;
  /** `restart.giveUp: exit`. */
  giveUp(): void;
}

export class Loop {
  readonly #o: LoopOptions;
  readonly #watchdog: Watchdog;
  readonly #senses: Senses;
  readonly #hands: Hands;
  readonly #queue: Observation[] = [];
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #endReports: (() => void) | undefined;

  constructor(options: LoopOptions) {
    this.#o = options;
    const { config, telemetry, clock, client, control, giveUp } = options;
    this.#watchdog = new Watchdog({ policy: config, acts: control.acts });
    this.#senses = new Senses({
      client,
      clock,
      watch: config.watch,
      probe: config.probe,
      emit: (o) => this.observe(o),
      notice: (severity, notice, detail) =>
        telemetry.emit('server.notice', { severity, notice, ...(detail ? { detail } : {}) }),
    });
    this.#hands = new Hands({
      client,
      control,
      clock,
      telemetry,
      verifyTimeoutMs: config.abort.verifyTimeout,
      dryRun: config.dryRun,
      observe: (o) => this.observe(o),
      inspect: (sessionID, directory) => this.#senses.inspect(sessionID, directory),
      pauseSenses: () => this.#senses.pause(),
      resumeSenses: (fresh) => this.#senses.resume({ fresh }),
      giveUp,
    });
  }

  /** `answer`: what the server said when it was asked just now, null where nothing healthy answers. */
  start(answer: { version?: string } | null, pid: number | undefined): void {
    const { clock, config, control, telemetry } = this.#o;
    clock.start((ms) => this.#gap(ms));
    // First the senses, so that a start of the server finds them awake and puts them to rest.
    this.#senses.start();
    this.observe({
      kind: 'server.attached',
      at: clock.now(),
      running: answer !== null,
      ...(pid === undefined ? {} : { pid }),
      ...(answer?.version === undefined ? {} : { version: answer.version }),
    });
    const report = new Report({
      watchdog: this.#watchdog,
      telemetry,
      clock,
      events: () => this.#senses.events,
      serverMemory: () => control.memory(),
    });
    this.#endReports = every(clock, config.log.healthInterval, () => {
      report.write().catch((err: unknown) => telemetry.emit('error', { err, doing: 'reporting' }));
    });
  }

  /** Takes one observation at a time: what an act reports while it is being carried out comes after it. */
  observe(o: Observation): void {
    this.#queue.push(o);
    if (this.#queue.length > 1) return;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      try {
        this.#take(next);
      } catch (err) {
        // Nothing that the senses bring may stop the daemon, a bug of ours least of all.
        this.#o.telemetry.emit('error', { err, doing: `taking in ${next.kind}` });
      }
      this.#queue.shift();
    }
    this.#arm();
  }

  /** Settles when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#endReports?.();
    this.#timer?.cancel();
    await Promise.all([this.#senses.stop(), this.#hands.stop()]);
    this.#timer?.cancel();
    this.#o.clock.stop();
  }

  #take(o: Observation): void {
    this.#o.recorder?.take(o);
    this.#tell(o);
    for (const decision of this.#watchdog.observe(o)) {
      if (isNote(decision)) {
        const { note, ...fields } = decision;
        this.#o.telemetry.emit(note, fields as never);
      } else this.#hands.do(decision);
    }
  }

  /** What the log says of the senses themselves. */
  #tell(o: Observation): void {
    switch (o.kind) {
      case 'stream.connected':
        this.#o.telemetry.emit('stream.connected', { path: o.path });
        return;
      case 'stream.lost': {
        const { path = '', reason, silentMs } = o;
        this.#o.telemetry.emit('stream.lost', { path, reason, silentMs });
        // The stream is the first to notice a dying process.
        this.#o.control.poke();
        return;
      }
    }
  }

  #gap(ms: number): void {
    this.#o.telemetry.emit('daemon.gap', { gapMs: ms });
    this.observe({ kind: 'gap', at: this.#o.clock.now(), ms });
    void this.#senses.resync();
  }

  #arm(): void {
    const deadline = this.#watchdog.deadline ?? Number.POSITIVE_INFINITY;
    if (deadline === this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = deadline;
    if (!Number.isFinite(deadline)) return;
    const { clock } = this.#o;
    this.#timer = clock.after(deadline - clock.now(), () => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.observe({ kind: 'tick', at: clock.now() });
    });
  }
}
