/** The executor: every act that is decided ends in exactly one observation, whatever becomes of it. */
import { describe, expect, it } from 'vitest';
import { type Config, defaultConfig } from '../../../src/config/schema.js';
import {
  Executor,
  type ExecutorOptions,
  MAX_ABORTS,
  MAX_PROMPTS,
} from '../../../src/daemon/executor.js';
import type { OpencodeClient, ProbeResult } from '../../../src/opencode/v1/client.js';
import {
  ControlError,
  type OnStarting,
  type ServerControl,
} from '../../../src/process/control/control.js';
import type { Telemetry } from '../../../src/telemetry/logger.js';
import type { Act } from '../../../src/watchdog/decision.js';
import type { Observation, SessionStatus } from '../../../src/watchdog/observation.js';
import { FakeClock, settle } from '../../support/fake-clock.js';

const CONFIG: Config = {
  ...defaultConfig(),
  abort: { verifyTimeout: 1_000, maxTries: 3, dispose: true },
};
const RETRY: SessionStatus = { type: 'retry', attempt: 5, message: 'Rate limit reached' };

const ABORT: Act = {
  act: 'abort',
  sessionID: 'ses_1',
  directory: '/a',
  reason: 'attempts',
  try: 1,
  expect: 'retry',
  verifyTimeoutMs: 1_000,
  waits: false,
};
const RESTART: Act = { act: 'restart', reason: 'wedged' };
const CONTINUE: Act = {
  act: 'continue',
  because: 'restart',
  sessionID: 'ses_1',
  directory: '/a',
  count: 1,
};
const REJECT: Act = {
  act: 'reject',
  sessionID: 'ses_1',
  directory: '/a',
  request: { requestID: 'per_1', on: 'permission' },
};

/** The executor, and around it a world of one session. */
class World {
  readonly clock = new FakeClock(1_000);
  readonly seen: Observation[] = [];
  readonly logged: Array<{ event: string; fields: Record<string, unknown> }> = [];
  /** What was done, in order. */
  readonly did: string[] = [];
  status: SessionStatus | undefined = RETRY;
  /** Called by `control.start` and `control.restart`. */
  act: (signal: AbortSignal) => Promise<void> = async () => {};
  /** Held back until this settles. */
  answer: Promise<void> | undefined;
  /** The run of a prompt begins when this settles. */
  promptTakes: Promise<void> | undefined;
  abortWorks = true;
  rejectWorks = true;
  probe: ProbeResult = { kind: 'failed', failure: 'refused', error: 'could not connect' };
  resumesRuns = false;
  /** Whether the control may restart what it has found. */
  acts = true;
  /** The process that `control.attach` finds. */
  seenPid: number | undefined;
  readonly executor: Executor;

  constructor(options: Partial<ExecutorOptions> = {}) {
    const client = {
      statuses: async () => {
        await this.answer;
        return new Map(this.status ? [['ses_1', this.status]] : []);
      },
      session: async () => ({ id: 'ses_1', directory: '/a' }),
      abort: async () => {
        this.did.push('abort');
        if (this.abortWorks) this.status = undefined;
      },
      probe: async () => this.probe,
      lastMessage: async () => undefined,
      prompt: async (sessionID: string) => {
        this.did.push(`prompt ${sessionID}`);
        await this.promptTakes;
        if (sessionID === 'ses_1') this.status = { type: 'busy' };
      },
      rejectRequest: async () => {
        this.did.push('reject');
        if (!this.rejectWorks) throw new Error('did not answer within 3000 ms');
      },
    };
    const process = (name: string) => async (signal: AbortSignal, onStarting?: OnStarting) => {
      this.did.push(name);
      onStarting?.(2);
      await this.act(signal);
      return { pid: 2, oldPid: 1, tookMs: 5 };
    };
    const isResuming = () => this.resumesRuns;
    const mayAct = () => this.acts;
    const control = {
      get resumesRuns() {
        return isResuming();
      },
      get acts() {
        return mayAct();
      },
      attach: async () => {
        this.did.push('attach');
        return this.seenPid === undefined ? null : { pid: this.seenPid };
      },
      start: process('start'),
      restart: process('restart'),
      installedVersion: async () => '1.19.0',
      continueProcess: async () => {
        this.did.push('continueProcess');
        await this.act(new AbortController().signal);
      },
    };
    this.executor = new Executor({
      client: client as unknown as OpencodeClient,
      control: control as unknown as ServerControl,
      clock: this.clock,
      telemetry: {
        emit: (event: string, fields: Record<string, unknown>) =>
          this.logged.push({ event, fields }),
      } as unknown as Telemetry,
      config: CONFIG,
      paused: () => false,
      observe: (o) => this.seen.push(o),
      probe: () => this.did.push('probe'),
      stuck: () => [{ sessionID: 'ses_1', directory: '/a' }],
      inspect: async (sessionID) => {
        this.did.push(`inspect ${sessionID}`);
      },
      pauseMonitor: async () => {
        this.did.push('pause');
      },
      resumeMonitor: (fresh) => this.did.push(fresh ? 'resume anew' : 'resume'),
      giveUp: (restarts) => this.did.push(`give up ${restarts}`),
      ...options,
    });
  }

  kinds(): string[] {
    return this.seen.map(({ kind }) => kind);
  }
}

describe('an abort', () => {
  it('that is seen to work is done', async () => {
    const world = new World();
    world.executor.do(ABORT);
    await world.clock.advance(1_000);
    expect(world.seen).toEqual([
      { kind: 'abort.done', at: expect.any(Number), sessionID: 'ses_1', tookMs: 20 },
    ]);
    expect(world.clock.pending).toBe(0);
  });

  it('that does nothing has failed after abort.verifyTimeout', async () => {
    const world = new World();
    world.abortWorks = false;
    world.executor.do(ABORT);
    await world.clock.advance(999);
    expect(world.seen).toEqual([]);
    await world.clock.advance(1);
    expect(world.seen).toMatchObject([
      { kind: 'abort.failed', error: expect.stringContaining('still retry, attempt 5') },
    ]);
    expect(world.did).toEqual(['abort']);
  });

  it('is not sent where the run has ended, or an attempt is under way', async () => {
    const world = new World();
    world.status = undefined;
    world.executor.do(ABORT);
    await settle();
    world.status = { type: 'busy' };
    world.executor.do(ABORT);
    await settle();
    expect(world.seen).toMatchObject([
      { kind: 'abort.withdrawn', seen: 'idle' },
      { kind: 'abort.withdrawn', seen: 'busy' },
    ]);
    expect(world.did).toEqual([]);
  });

  it('of a session that is sure to wait is not held up by a server that is slow to tell', async () => {
    const sent = async (waits: boolean) => {
      const world = new World();
      world.answer = new Promise(() => {});
      world.executor.do({ ...ABORT, waits });
      await world.clock.advance(10);
      return world.did;
    };
    expect(await sent(true)).toEqual(['abort']);
    expect(await sent(false)).toEqual([]);
  });

  it('of a session that is sure to wait is not sent either where its end is seen at once', async () => {
    const world = new World();
    world.status = undefined;
    world.executor.do({ ...ABORT, waits: true });
    await world.clock.advance(5_000);
    expect(world.seen).toMatchObject([{ kind: 'abort.withdrawn', seen: 'idle' }]);
    expect(world.did).toEqual([]);
    expect(world.clock.pending).toBe(0);
  });

  it('is not sent where it is withdrawn in time', async () => {
    const world = new World();
    world.executor.do(ABORT);
    world.executor.do({ act: 'withdraw', sessionID: 'ses_1' });
    await world.clock.advance(5_000);
    expect(world.seen).toMatchObject([{ kind: 'abort.withdrawn', seen: 'withdrawn' }]);
    expect(world.did).toEqual([]);
  });

  it('cannot be withdrawn any more when it was sent, nor when there is none', async () => {
    const world = new World();
    world.executor.do({ act: 'withdraw', sessionID: 'ses_1' });
    world.abortWorks = false;
    world.executor.do(ABORT);
    await world.clock.advance(10);
    world.executor.do({ act: 'withdraw', sessionID: 'ses_1' });
    world.status = undefined;
    await world.clock.advance(5_000);
    expect(world.kinds()).toEqual(['abort.done']);
  });
});

describe('a start', () => {
  it('is said once it is under way, with the process that was started', async () => {
    const world = new World();
    world.executor.do({ act: 'start' });
    await settle();
    expect(world.logged).toEqual([{ event: 'server.starting', fields: { pid: 2 } }]);
    expect(world.kinds()).toEqual(['restart.done']);
  });
});

describe('a restart', () => {
  it('happens while the monitor rests, and is reported when it is awake: what follows may put it to rest again', async () => {
    const world = new World({ observe: (o) => world.did.push(o.kind) });
    world.executor.do(RESTART);
    await settle();
    expect(world.did).toEqual(['pause', 'restart', 'resume anew', 'restart.done']);
  });

  it('that leaves nothing running says which version is installed', async () => {
    const world = new World();
    world.act = async () => {
      throw new ControlError('it ended at once', { serverAlive: false });
    };
    world.executor.do(RESTART);
    await settle();
    expect(world.seen).toMatchObject([{ kind: 'restart.failed', version: '1.19.0' }]);
  });

  it.each([
    [false, 'resume anew'],
    [true, 'resume'],
  ])(
    'that fails with serverAlive %s says so, and wakes the monitor',
    async (serverAlive, woken) => {
      const world = new World();
      world.act = async () => {
        throw new ControlError('the port is taken', { serverAlive });
      };
      world.executor.do({ act: 'start' });
      await settle();
      expect(world.seen).toMatchObject([
        { kind: 'restart.failed', error: 'the port is taken', serverAlive },
      ]);
      expect(world.did).toEqual(['pause', 'start', woken]);
      expect(world.logged).toMatchObject([{ event: 'server.starting' }]);
    },
  );

  it('that brings up what is not understood says so with its end', async () => {
    const world = new World();
    const unsupported = { answered: 'GET /api/info 200', means: 'it is OpenCode 2', certain: true };
    world.probe = { kind: 'unsupported', ...unsupported, error: 'x' };
    world.executor.do(RESTART);
    await settle();
    expect(world.seen).toMatchObject([{ kind: 'restart.done', unsupported }]);
  });

  it('that brings up what refuses the credentials says so with its end', async () => {
    const world = new World();
    const means = 'it wants another password';
    world.probe = { kind: 'unauthorized', status: 401, means, error: 'x' };
    world.executor.do(RESTART);
    await settle();
    expect(world.seen).toMatchObject([{ kind: 'restart.done', unauthorized: 401, means }]);
  });

  it.each<[string, ProbeResult, boolean]>([
    ['answers', { kind: 'ok', version: '1.18.33' }, true],
    ['refuses us', { kind: 'unauthorized', status: 401, error: 'no' }, true],
    ['is odd', { kind: 'unsupported', answered: '503', means: 'x', error: '503' }, true],
    ['is silent', { kind: 'failed', failure: 'timeout', error: 'no answer' }, false],
    ['is gone', { kind: 'failed', failure: 'refused', error: 'could not connect' }, false],
  ])(
    'that fails where nobody looked is believed to be a death only after the server was asked: it %s',
    async (_, probe, serverAlive) => {
      for (const error of [
        new ControlError('the command failed', { serverAlive: 'unknown' }),
        new Error('ours'),
      ]) {
        const world = new World();
        world.probe = probe;
        world.act = () => Promise.reject(error);
        world.executor.do(RESTART);
        await settle();
        expect(world.seen).toMatchObject([{ kind: 'restart.failed', serverAlive }]);
        expect(world.did.at(-1)).toBe(serverAlive ? 'resume' : 'resume anew');
      }
    },
  );

  it('that fails by a fault of ours ends as a failed one, and is logged as an error', async () => {
    const world = new World();
    world.act = async () => {
      throw new TypeError('x is not a function');
    };
    world.executor.do(RESTART);
    await settle();
    expect(world.seen).toMatchObject([{ kind: 'restart.failed', serverAlive: false }]);
    expect(world.logged).toMatchObject([{ event: 'error', fields: { doing: 'restart' } }]);
    expect(world.did.at(-1)).toBe('resume anew');
  });
});

describe('a restart for a server that has exited', () => {
  const EXITED: Act = { act: 'restart', reason: 'exited' };

  it('takes on the server that somebody has started meanwhile, and ends nothing', async () => {
    const world = new World();
    world.probe = { kind: 'ok', version: '1.18.34' };
    world.seenPid = 7;
    world.executor.do(EXITED);
    await settle();
    expect(world.did).toEqual(['pause', 'attach', 'resume anew']);
    expect(world.seen).toMatchObject([{ kind: 'restart.done', pid: 7, version: '1.18.34' }]);
  });

  it('says with its end where a person sits in front of what came up', async () => {
    const world = new World();
    world.probe = { kind: 'ok', version: '1.18.34' };
    world.acts = false;
    world.executor.do(EXITED);
    await settle();
    expect(world.seen).toMatchObject([{ kind: 'restart.done', acts: false }]);
  });

  it('is a start where nothing answers: a server that boots is not ended', async () => {
    const world = new World();
    world.seenPid = 7;
    world.executor.do(EXITED);
    await settle();
    expect(world.did).toEqual(['pause', 'start', 'resume anew']);
    expect(world.kinds()).toEqual(['restart.done']);
  });

  it('is a start also where OpenCode 2 says that it boots, which waits for it', async () => {
    const world = new World();
    world.seenPid = 7;
    const boots = { answered: 'GET /api/info 503', means: 'it boots', starting: true };
    world.probe = { kind: 'unsupported', error: 'answered 503', ...boots };
    world.act = async () => {
      world.probe = { kind: 'ok', version: '2.0.14' };
    };
    world.executor.do(EXITED);
    await settle();
    expect(world.did).toEqual(['pause', 'start', 'resume anew']);
    expect(world.seen).toMatchObject([{ kind: 'restart.done' }]);
    expect(world.seen[0]).not.toHaveProperty('unsupported');
  });

  it('ends no server that answers, and fails as its start does', async () => {
    const world = new World();
    world.probe = { kind: 'unauthorized', status: 401, error: 'answered 401', isWithheld: true };
    world.act = async () => {
      throw new ControlError('pid 7 of another user listens there', { serverAlive: true });
    };
    world.executor.do(EXITED);
    await settle();
    expect(world.did).toEqual(['pause', 'start', 'resume']);
    expect(world.seen).toMatchObject([{ kind: 'restart.failed', serverAlive: true }]);
  });

  it('ends a process that answers nothing in all the time of a start', async () => {
    const world = new World();
    world.seenPid = 7;
    world.act = async () => {
      if (!world.did.includes('restart')) throw new ControlError('late', { serverAlive: false });
    };
    world.executor.do(EXITED);
    await settle();
    expect(world.did).toEqual(['pause', 'start', 'attach', 'restart', 'resume anew']);
    expect(world.kinds()).toEqual(['restart.done']);
  });

  it('fails as its start does where no process is seen', async () => {
    const world = new World();
    world.act = async () => {
      throw new ControlError('it ended at once', { serverAlive: false });
    };
    world.executor.do(EXITED);
    await settle();
    expect(world.did).toEqual(['pause', 'start', 'attach', 'resume anew']);
    expect(world.seen).toMatchObject([{ kind: 'restart.failed', error: 'it ended at once' }]);
  });
});

describe('giving up', () => {
  const GIVE_UP: Act = { act: 'give_up', restarts: 5 };

  it('ends the daemon', () => {
    const world = new World();
    world.executor.do(GIVE_UP);
    expect(world.did).toEqual(['give up 5']);
  });

  it('is left in a dry run and in a pause', () => {
    for (const options of [{ config: { ...CONFIG, dryRun: true } }, { paused: () => true }]) {
      const world = new World(options);
      world.executor.do(GIVE_UP);
      expect(world.did).toEqual([]);
      expect(world.logged).toMatchObject([{ event: 'act.skipped', fields: { act: 'give_up' } }]);
    }
  });
});

describe('continuing the process', () => {
  const CONTINUE_PROCESS: Act = { act: 'continue_process' };

  it('is followed by a probe at once, which shows whether the server serves', async () => {
    const world = new World();
    world.executor.do(CONTINUE_PROCESS);
    await settle();
    expect(world.did).toEqual(['continueProcess', 'probe']);
    expect(world.seen).toMatchObject([{ kind: 'continue_process.done' }]);
  });

  it('that cannot be done says why', async () => {
    const world = new World();
    world.act = () => Promise.reject(new ControlError('nobody listens', { serverAlive: true }));
    world.executor.do(CONTINUE_PROCESS);
    await settle();
    expect(world.seen).toMatchObject([
      { kind: 'continue_process.failed', error: 'nobody listens' },
    ]);
    expect(world.logged).toEqual([]);
  });

  it('is left in a dry run and in a pause', async () => {
    for (const options of [{ config: { ...CONFIG, dryRun: true } }, { paused: () => true }]) {
      const world = new World(options);
      world.executor.do(CONTINUE_PROCESS);
      await settle();
      expect(world.did).toEqual([]);
      expect(world.seen).toMatchObject([{ kind: 'continue_process.skipped' }]);
      expect(world.logged).toMatchObject([
        { event: 'act.skipped', fields: { act: 'continue_process' } },
      ]);
    }
  });
});

describe('an act that waits for its turn', () => {
  it.each<[string, number, (sessionID: string) => Act]>([
    ['abort', MAX_ABORTS, (sessionID) => ({ ...ABORT, sessionID })],
    ['continue', MAX_PROMPTS, (sessionID) => ({ ...CONTINUE, sessionID })],
  ])('is left if a pause begins meanwhile: %s', async (act, atATime, of) => {
    let isPaused = false;
    const world = new World({ paused: () => isPaused });
    let release = () => {};
    world.answer = new Promise<void>((resolve) => {
      release = resolve;
    });
    for (let i = 0; i <= atATime; i += 1) world.executor.do(of(`ses_${i}`));
    await settle();
    isPaused = true;
    release();
    await world.clock.advance(40_000);
    const skipped = world.seen.filter(({ kind }) => kind === `${act}.skipped`);
    expect(skipped).toMatchObject([{ sessionID: `ses_${atATime}` }]);
    expect(world.seen).toHaveLength(atATime + 1);
    expect(world.logged).toMatchObject([
      { event: 'act.skipped', fields: { act, because: 'paused' } },
    ]);
  });
});

describe('an abort that a person asks for', () => {
  const MANUAL: Act = { ...ABORT, reason: 'manual', expect: 'active' };
  const held = () => {
    const world = new World();
    world.status = undefined;
    let release = () => {};
    world.answer = new Promise<void>((resolve) => {
      release = resolve;
    });
    return { world, release };
  };

  it('takes back a prompt to go on that is not sent yet', async () => {
    const { world, release } = held();
    world.executor.do(CONTINUE);
    await settle();
    world.executor.do(MANUAL);
    release();
    await world.clock.advance(1_000);
    expect(world.did).toEqual([]);
    expect(world.seen).toMatchObject([
      { kind: 'continue.failed', superseded: true },
      { kind: 'abort.withdrawn', seen: 'idle' },
    ]);
  });

  it('takes back a prompt that waits for its turn, without waiting for it', async () => {
    const { world, release } = held();
    for (let i = 2; i < MAX_PROMPTS + 2; i += 1)
      world.executor.do({ ...CONTINUE, sessionID: `ses_${i}` });
    world.executor.do(CONTINUE);
    await settle();
    world.answer = undefined;
    world.executor.do(MANUAL);
    await settle();
    expect(world.seen).toMatchObject([{ kind: 'abort.withdrawn', seen: 'idle' }]);
    release();
    await world.clock.advance(40_000);
    expect(world.did.filter((each) => each === 'prompt ses_1')).toEqual([]);
    expect(world.seen).toContainEqual(
      expect.objectContaining({ kind: 'continue.failed', sessionID: 'ses_1', superseded: true }),
    );
  });

  it('ends the run of a prompt that is sent already', async () => {
    const { world, release } = held();
    world.promptTakes = world.answer;
    world.answer = undefined;
    world.executor.do(CONTINUE);
    await settle();
    world.executor.do(MANUAL);
    await settle();
    release();
    await world.clock.advance(1_000);
    expect(world.did).toEqual(['prompt ses_1', 'abort']);
    expect(world.kinds()).toEqual(['continue.done', 'abort.done']);
  });
});

describe('other acts', () => {
  it('are passed on', async () => {
    const world = new World();
    world.executor.do({ act: 'inspect', sessionID: 'ses_1', directory: '/a' });
    world.executor.do(REJECT);
    world.executor.do({ act: 'give_up', restarts: 5 });
    await settle();
    expect(world.did).toEqual(['inspect ses_1', 'reject', 'give up 5']);
    expect(world.seen).toEqual([]);
  });
});

describe('a rejection that fails', () => {
  it('is told to the state machine, and logged as an error', async () => {
    const world = new World();
    world.rejectWorks = false;
    world.executor.do(REJECT);
    await settle();
    expect(world.seen).toMatchObject([
      { kind: 'reject.failed', sessionID: 'ses_1', requestID: 'per_1' },
    ]);
    expect(world.logged).toMatchObject([{ event: 'error', fields: { doing: 'reject' } }]);
  });
});

describe('a dry run', () => {
  it('says each act, does none, and answers after the decision is over', async () => {
    const world = new World({ config: { ...CONFIG, dryRun: true } });
    for (const act of [ABORT, RESTART, { act: 'start' } as const, REJECT]) world.executor.do(act);
    expect(world.seen).toEqual([]);
    await settle();
    expect(world.kinds()).toEqual([
      'abort.skipped',
      'restart.skipped',
      'restart.skipped',
      'reject.skipped',
    ]);
    expect(world.logged.map(({ fields }) => fields)).toMatchObject([
      { act: 'abort', sessionID: 'ses_1', directory: '/a', reason: 'attempts' },
      { act: 'restart', reason: 'wedged' },
      { act: 'start' },
      { act: 'reject', sessionID: 'ses_1', directory: '/a' },
    ]);
    expect(world.did).toEqual([]);
  });

  it('still looks: that changes nothing', async () => {
    const world = new World({ config: { ...CONFIG, dryRun: true } });
    world.executor.do({ act: 'inspect', sessionID: 'ses_1', directory: undefined });
    expect(world.did).toEqual(['inspect ses_1']);
  });
});

describe('a pause', () => {
  it('lets the same acts be, but for what a person asks', async () => {
    const world = new World({ paused: () => true });
    for (const act of [ABORT, RESTART, REJECT]) world.executor.do(act);
    world.executor.do({ act: 'restart', reason: 'manual' });
    await settle();
    expect(world.kinds()).toEqual([
      'abort.skipped',
      'restart.skipped',
      'reject.skipped',
      'restart.done',
    ]);
    expect(world.did).toEqual(['pause', 'restart', 'resume anew']);
  });
});

describe('told to stop', () => {
  it('they end what is under way, and begin nothing more', async () => {
    const world = new World();
    world.abortWorks = false;
    world.executor.do(ABORT);
    await world.clock.advance(10);
    const stop = world.executor.stop();
    for (const act of [ABORT, RESTART, { act: 'start' } as const]) world.executor.do(act);
    // Not one moment passes: nobody waits for the verification.
    await stop;
    expect(world.did).toEqual(['abort']);
    expect(world.clock.pending).toBe(0);
  });

  it('they end a restart, say nothing of it, and leave the monitor at rest', async () => {
    const world = new World();
    world.act = (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
    world.executor.do(RESTART);
    await settle();
    await world.executor.stop();
    expect(world.did).toEqual(['pause', 'restart']);
    expect(world.seen).toEqual([]);
    expect(world.logged).toEqual([]);
  });
});

describe('many acts at once', () => {
  it('go out a bounded number at a time, each has its end, and one withdrawn in the queue is not sent', async () => {
    let inFlight = 0;
    let most = 0;
    const sent: string[] = [];
    const client = {
      statuses: async () => {
        inFlight += 1;
        most = Math.max(most, inFlight);
        await settle();
        inFlight -= 1;
        return new Map();
      },
      session: async () => ({ id: 'ses', directory: '/a' }),
      abort: async (id: string) => {
        sent.push(id);
      },
    };
    const w = new World({ client: client as unknown as OpencodeClient });
    const total = 5 * MAX_ABORTS;
    for (let n = 0; n < total; n += 1) w.executor.do({ ...ABORT, sessionID: `ses_${n}` });
    w.executor.do({ act: 'withdraw', sessionID: `ses_${total - 1}` });
    await new Promise((resolve) => setImmediate(resolve));
    expect(most).toBe(MAX_ABORTS);
    expect(w.seen.filter(({ kind }) => kind === 'abort.withdrawn')).toHaveLength(total);
    expect(w.seen.at(-1)).toMatchObject({ sessionID: `ses_${total - 1}`, seen: 'withdrawn' });
    expect(sent).toEqual([]);
    await w.executor.stop();
  });
});

it('lets go of a stuck run before a restart whose server would go on with it', async () => {
  const world = new World();
  world.resumesRuns = true;
  world.executor.do({ act: 'restart', reason: 'wedged' });
  await world.clock.advance(10);
  expect(world.did).toEqual(['pause', 'abort', 'restart', 'resume anew']);
  const other = new World();
  other.executor.do({ act: 'restart', reason: 'wedged' });
  await other.clock.advance(10);
  expect(other.did).toEqual(['pause', 'restart', 'resume anew']);
});
