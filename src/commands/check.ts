/** `check`: is opencode installed, is the server up, are providers connected, is the configured model known. */
import type { Config } from '../config/schema.js';
import { SystemClock } from '../lib/clock.js';
import { printable } from '../lib/printable.js';
import { suggest } from '../lib/suggest.js';
import { nobodyListens, probeServer, type ServerState } from '../opencode/driver/availability.js';
import { listModels } from '../opencode/driver/catalog.js';
import type { DriverApi } from '../opencode/driver-api.js';
import { messageOf } from '../opencode/http/errors.js';
import type { RecognisingDriverApi } from '../opencode/recognising-driver-api.js';
import { createControl } from '../process/control/auto.js';
import type { BinaryCheck } from '../process/identity/binary.js';
import { startUnderLock } from '../process/server/start-under-lock.js';
import { time } from '../telemetry/number-text.js';
import {
  apiFor,
  checkServerBinary,
  controlOptions,
  ensurePassword,
  lockOptions,
  onceDeps,
  startRefusal,
} from './server.js';
import {
  type ConfigOptions,
  complain,
  EXIT,
  type ExitCode,
  loadForCommand,
  loadToAct,
  print,
  printJson,
} from './shared.js';

export interface CheckOptions extends ConfigOptions {
  start?: boolean;
  unattended?: boolean;
  json?: boolean;
}

interface Step {
  step: 'binary' | 'server' | 'providers' | 'model' | 'unattended';
  /** Null if it was not asked, because an earlier step failed or because there is no need. */
  ok: boolean | null;
  /** Not as it should be, but no obstacle. */
  warning?: true;
  /** One line for people. */
  says: string;
  [fact: string]: unknown;
}

export async function check(options: CheckOptions): Promise<number> {
  const loaded = options.start ? await loadToAct(options) : loadForCommand(options);
  if (options.start) ensurePassword(loaded);
  const { config } = loaded;
  const clock = new SystemClock();
  const client = apiFor(loaded, clock);
  try {
    const steps: Step[] = [];
    const binary = await checkServerBinary(config);
    let state = await probeServer(client);
    let failed: string | undefined;
    if (options.start && nobodyListens(state)) {
      failed = startRefusal(config) ?? (await start(loaded, client, clock));
      if (failed === undefined) state = await probeServer(client);
    }
    const server = serverStep(client, state, failed);
    steps.push(binaryStep(binary, config.server.control, state.kind === 'up'), server.step);
    if (state.kind !== 'up') steps.push(...NOT_ASKED);
    else {
      steps.push(...(await providerSteps(client)));
      if (options.unattended) steps.push(...(await unattendedSteps(client, config.waiting)));
    }
    const red = steps.some((step) => step.ok === false);
    const code = server.code ?? (red ? EXIT.failed : EXIT.done);
    if (options.json) printJson({ ok: code === EXIT.done, url: client.url, steps });
    else for (const step of steps) print(line(step));
    return code;
  } finally {
    await client.close();
  }
}

function line({ ok, warning, step, says }: Step): string {
  const mark = warning ? 'warn' : ok === null ? '-   ' : ok ? 'ok  ' : 'FAIL';
  return `${mark}  ${step.padEnd(9)}  ${printable(says, 'line')}`;
}

/** If somebody else runs the server, or one answers already, its binary need not be on this machine. */
function binaryStep(found: BinaryCheck, control: string, isUp: boolean): Step {
  const step = 'binary';
  if ('notAsked' in found) {
    const { path, notAsked } = found;
    return { step, ok: null, says: `${path}; its version is not asked: ${notAsked}`, path };
  }
  if ('version' in found) {
    const { path, version } = found;
    return { step, ok: true, says: `opencode ${version} at ${path}`, path, version };
  }
  const place = found.found ? { path: found.path } : {};
  const elsewhere = ['observe', 'external', 'command', 'docker', 'service'].includes(control);
  if (isUp || (elsewhere && !found.found)) {
    return { step, ok: null, warning: true, says: found.error, ...place };
  }
  return { step, ok: false, says: found.error, ...place };
}

interface ServerStep {
  step: Step;
  /** Set if the server decides the exit code. */
  code?: ExitCode;
}

/** @param failed why the start that was asked for has failed */
function serverStep(
  { api, url }: RecognisingDriverApi,
  state: ServerState,
  failed: string | undefined,
): ServerStep {
  const step = 'server';
  if (state.kind === 'up') {
    const version = state.version ?? 'of an unknown version (older than 1.1)';
    const says = `opencode ${version} answers at ${url}${api === 2 ? ', by the API of OpenCode 2' : ''}`;
    return { step: { step, ok: true, says, url, version: state.version ?? null, api } };
  }
  const { probe, error } = state;
  const red = { step, ok: false, says: failed ?? error } as const;
  switch (probe.kind) {
    case 'unauthorized':
      return { step: red, code: EXIT.unauthorized };
    case 'unsupported': {
      const { answered, version = null } = probe;
      return { step: { ...red, answered, version }, code: EXIT.failed };
    }
    case 'failed':
      return { step: { ...red, failure: probe.failure }, code: EXIT.unreachable };
  }
}

/** Starts a server where nobody listens, with the daemon's steps, and leaves it running. Returns why it could not. */
async function start(
  loaded: ReturnType<typeof loadForCommand>,
  client: RecognisingDriverApi,
  clock: SystemClock,
): Promise<string | undefined> {
  const { command, startTimeout } = loaded.config.server;
  const { signal } = new AbortController();
  const deps = onceDeps(client);
  try {
    await startUnderLock({
      lock: lockOptions(loaded, clock),
      isHealthy: deps.isHealthy,
      startTimeoutMs: startTimeout,
      signal,
      async openControl() {
        complain(`starting ${command.join(' ')} …`);
        const options = { ...controlOptions(loaded, clock, deps), mode: 'spawn' as const };
        return (await createControl(options, signal)).control;
      },
    });
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

async function providerSteps(client: DriverApi): Promise<Step[]> {
  try {
    const { connected, models, configured } = await listModels(client, { all: false });
    const none = 'no provider is connected: "opencode auth login" adds one';
    const says = connected.length > 0 ? `connected: ${connected.join(', ')}` : none;
    const known = models.filter((each) => each.connected);
    return [
      { step: 'providers', ok: connected.length > 0, says, connected },
      modelStep(configured, known),
    ];
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    return [
      { step: 'providers', ok: false, says },
      { step: 'model', ok: null, says: 'not asked' },
    ];
  }
}

/** What may stop to ask a person, and what would answer it. */
async function unattendedSteps(
  client: DriverApi,
  { maxDuration, action }: Config['waiting'],
): Promise<Step[]> {
  const step = 'unattended';
  const isAnswered = maxDuration > 0 && action !== 'report';
  try {
    const found = await client.asking();
    if (found === undefined) {
      return [{ step, ok: null, says: 'not asked: the server lists no rules that are understood' }];
    }
    const { agents, asking } = found;
    if (asking.length === 0) {
      return [{ step, ok: true, says: `none of ${agents} agents stops to ask a person`, asking }];
    }
    const answer = isAnswered
      ? `waiting.action ${action} answers after ${time(maxDuration)}`
      : 'nothing answers: waiting.maxDuration and waiting.action reject would, or --profile unattended';
    const head: Step = {
      step,
      ok: isAnswered,
      says: `${asking.length} permissions of ${agents} agents may ask a person; ${answer}`,
      asking,
    };
    const each = asking.map(({ agent, permission, pattern }): Step => {
      const where = pattern === '*' ? permission : `${permission} ${pattern}`;
      // OpenCode 2 has other names for these keys (opencode-2-facts, section 7).
      const answers =
        client.api === 2
          ? `"permissions": [{ "action": "${permission}", "resource": "${pattern}", "effect": "allow" or "deny" }]`
          : `"permission": { "${permission}": "allow" or "deny" }`;
      const says = `agent ${agent} asks about ${where}; ${answers} in opencode.json answers it`;
      return { step, ok: null, says, agent, permission, pattern };
    });
    return [head, ...each];
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    return [{ step, ok: false, says }];
  }
}

function modelStep(model: string | undefined, known: readonly { id: string }[]): Step {
  const step = 'model';
  if (model === undefined) {
    return { step, ok: null, says: 'none configured: opencode takes its default' };
  }
  const ids = known.map((each) => each.id);
  if (ids.includes(model)) return { step, ok: true, says: model, model };
  const hint = ids.length > 0 ? `; did you mean ${suggest(model, ids, '/')}?` : '';
  return { step, ok: false, says: `no connected provider has ${model}${hint}`, model };
}

const NOT_ASKED = (['providers', 'model'] as const).map(
  (step): Step => ({ step, ok: null, says: 'not asked: the server does not answer' }),
);
