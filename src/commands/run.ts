/** `run`: the daemon, in the foreground. */
import { isatty } from 'node:tty';
import { readableConfig } from '../config/explain.js';
import { parseListen } from '../config/listen.js';
import { type LoadedConfig, secretsOf } from '../config/load.js';
import { pageLink } from '../config/page-link.js';
import { applyLive } from '../config/reload.js';
import type { Config } from '../config/schema.js';
import { Daemon } from '../daemon/daemon.js';
import { Faults } from '../daemon/faults.js';
import {
  evidenceStore,
  openStatusFor,
  type StatusAccess,
  secretsOfStatus,
  startHistory,
  startNotices,
  statusAccess,
} from '../daemon/outputs.js';
import { SdNotify } from '../daemon/sd-notify.js';
import { ServiceManager } from '../daemon/service-manager.js';
import { StopSignals } from '../daemon/stop-signals.js';
import { SystemClock } from '../lib/clock.js';
import { endAll } from '../lib/end-all.js';
import { createRedactor } from '../lib/redaction.js';
import { messageOf } from '../opencode/http/errors.js';
import { createControl } from '../process/control/auto.js';
import type { ControlDeps } from '../process/control/control.js';
import { whyMissing } from '../process/identity/binary.js';
import { PasswordGuard } from '../process/identity/password-guard.js';
import { acquireLock, type Lock, LockHeldError } from '../process/lock.js';
import { Recorder } from '../recording/recorder.js';
import { createTelemetry, type Telemetry } from '../telemetry/logger.js';
import { copyPolicy } from '../watchdog/policy.js';
import { refuseUnknownEvents } from './notify.js';
import { controlOptions, ensurePassword, lockOptions, serverUser } from './server.js';
import { isAgent } from './service-files.js';
import {
  type ConfigOptions,
  complain,
  EXIT,
  ExitError,
  loadAgain,
  loadToAct,
  packageVersion,
} from './shared.js';

const STDIN = 0;
const STDOUT = 1;

export interface RunOptions extends ConfigOptions {
  record?: string;
}

export async function run(options: RunOptions): Promise<number> {
  const loaded = await loadToAct(options, { token: true });
  ensurePassword(loaded);
  const { config, secrets } = loaded;
  refuseUnknownEvents(loaded);
  const clock = new SystemClock();
  const user = serverUser(loaded);
  const { url, control, command } = config.server;
  const guard = new PasswordGuard({
    url,
    mode: control,
    command,
    clock,
    caller: 'daemon',
    ...(user && { user }),
  });
  // A reload that is asked for while the daemon waits for the lock is made when it has it.
  let wantsReload = false;
  let onHangup = () => {
    wantsReload = true;
  };
  process.on('SIGHUP', () => onHangup());
  const lock = await lockToAct(loaded, clock);
  const access = statusAccess(loaded, process.env, process.cwd());
  const telemetry = createTelemetry({
    level: config.log.level,
    format: config.log.format,
    server: config.server.url,
    secrets: [...secretsOf(loaded), ...secretsOfStatus(access)],
    clock,
    dryRun: config.dryRun,
  });
  clock.reportErrors((err) => telemetry.emit('error', { err, doing: 'calling what was due' }));
  const history = startHistory(loaded, process.env, telemetry, clock);
  const version = packageVersion();
  const outputs = { loaded, access, telemetry, clock, version, history: history.store };
  const notices = startNotices(outputs);
  telemetry.emit('daemon.started', {
    version: packageVersion(),
    pid: process.pid,
    config: readableConfig(config),
  });

  sayLink(loaded, access, telemetry);

  const notify = new SdNotify({
    env: process.env,
    onError: (err) => telemetry.emit('error', { err, doing: 'telling systemd how the daemon is' }),
  });
  const serviceManager = new ServiceManager({ notify, telemetry, clock });
  const stop = new AbortController();
  const signals = new StopSignals({
    telemetry,
    isTerminal: isatty(STDIN) && isatty(STDOUT),
    cut: () => daemon.cutByStop(),
    ask: complain,
    stop(signal) {
      serviceManager.stopping();
      stop.abort(new Error(signal));
    },
  });
  const onSignal = (signal: string) => void signals.came(signal);
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  const faults = new Faults({
    telemetry,
    clock,
    stopGraceMs: config.server.stopGrace,
    stop: () => onSignal('fault'),
    process,
    exit: (code) => process.exit(code),
  });

  const daemon = new Daemon({
    config,
    secrets,
    findPassword: loaded.findPassword,
    telemetry,
    clock,
    serviceManager,
    guard,
    stateDirectory: history.directory,
    evidenceStore: evidenceStore(loaded, access, history.directory),
    makeRecorder: (acts) => recorderFor(options.record, loaded, acts, telemetry),
    // On a terminal, a person reads the error. A service goes on probing, because the server may be replaced.
    ...(isatty(STDOUT) && {
      onUnsupported: (says: string) => {
        throw new ExitError(EXIT.failed, says);
      },
    }),
    openStatus: (source) => openStatusFor(outputs, source),
    async makeControl(deps, signal) {
      const chosen = await createControl(controlOptions(loaded, clock, deps), signal);
      telemetry.emit('server.notice', {
        severity: 'info',
        notice: `control is ${chosen.mode}: ${chosen.reason}`,
      });
      // Nobody reads a service's exit code and starts it again after installing opencode: the breaker tries again.
      const isService = notify.enabled || isAgent(process.env);
      if (chosen.mode === 'spawn' && !isService) await refuseMissingProgram(loaded, deps, signal);
      return chosen.control;
    },
  });
  onHangup = () => {
    serviceManager.reloading();
    reload(options, config, daemon, telemetry);
    serviceManager.reloaded();
  };
  if (wantsReload) onHangup();
  process.on('SIGUSR2', () => telemetry.emit('daemon.state', { state: daemon.snapshot() ?? {} }));
  try {
    const { gaveUp } = await daemon.run(stop.signal);
    const exitCode = faults.happened ? EXIT.failed : gaveUp ? EXIT.gaveUp : EXIT.done;
    telemetry.emit('daemon.stopped', { signal: signals.told ?? 'gave up restarting', exitCode });
    return exitCode;
  } catch (err) {
    // An ExitError is for the person who typed the command. Everything else belongs in the log.
    if (err instanceof ExitError) throw err;
    telemetry.emit('error', { err, doing: 'running; the daemon ends with exit code 1' });
    return EXIT.failed;
  } finally {
    await endAll(
      [
        { doing: 'telling the webhooks', end: () => notices.stop() },
        { doing: 'closing the history', end: () => history.stop() },
        { doing: 'writing the last lines', end: () => telemetry.flush() },
        { doing: 'telling the service manager', end: () => serviceManager.stop() },
        { doing: 'stopping the clock', end: () => clock.stop() },
        { doing: 'releasing the lock', end: () => lock?.release() },
      ],
      (err, doing) => telemetry.emit('error', { err, doing }),
    );
    faults.end();
  }
}

/**
 * Prints the link for the person at the terminal, once the page is there. It never goes to a log, which others may
 * read.
 */
function sayLink({ config }: LoadedConfig, { token, why }: StatusAccess, telemetry: Telemetry) {
  if (why !== undefined) {
    const notice = `nobody can act over HTTP or see content there: ${why}; status.tokenFile may name a token`;
    telemetry.emit('server.notice', { severity: 'warn', notice });
  }
  const terminal = process.stdout.isTTY === true && process.stderr.isTTY === true;
  if (!terminal || config.log.format === 'json' || token === undefined) return;
  if (parseListen(config.status.listen)?.kind !== 'tcp') return;
  const unsubscribe = telemetry.subscribe(({ event }) => {
    if (event !== 'status.listening') return;
    unsubscribe();
    complain(`the status page: ${pageLink(config, token.reveal())}`);
  });
}

/** If the program of the command cannot be found, that is told to the person who has typed `run`, at once. */
async function refuseMissingProgram(
  { config }: LoadedConfig,
  { isHealthy }: ControlDeps,
  signal: AbortSignal,
): Promise<void> {
  const { command, directory } = config.server;
  const missing = whyMissing(command, process.env, directory);
  if (missing === undefined || (await isHealthy(signal)) !== null) return;
  throw new ExitError(EXIT.usage, `server.command: ${missing}`);
}

/**
 * Two daemons that act on one server would undo each other's work. A daemon that only watches does no harm.
 * @throws ExitError, with code 0 if SIGTERM or SIGINT ends the wait
 */
async function lockToAct(loaded: LoadedConfig, clock: SystemClock): Promise<Lock | undefined> {
  const { config } = loaded;
  if (config.dryRun || config.server.control === 'observe') return undefined;
  const stop = new AbortController();
  const onSignal = (signal: string) => stop.abort(new ExitError(EXIT.done, `ended by ${signal}`));
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  try {
    // A command that starts the server now is done within this time, and the daemon then finds the server.
    const waitMs = config.server.startTimeout;
    const { signal } = stop;
    return await acquireLock({ ...lockOptions(loaded, clock), waitMs, signal });
  } catch (error) {
    if (error instanceof LockHeldError) throw new ExitError(EXIT.failed, error.message);
    throw error;
  } finally {
    process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
  }
}

/** Applies what can be applied live. A configuration with which the daemon would not start changes nothing. */
function reload(
  options: ConfigOptions,
  config: Config,
  daemon: Daemon,
  telemetry: Telemetry,
): void {
  try {
    const next = loadAgain(options);
    refuseUnknownEvents(next);
    // A directory service may take its time, and the daemon waits for it.
    if (next.config.server.user !== config.server.user) serverUser(next);
    const result = applyLive(config, next.config);
    telemetry.setLevel(config.log.level);
    telemetry.emit('config.reloaded', result);
    daemon.reconfigured();
  } catch (err) {
    telemetry.emit('config.invalid', { err });
  }
}

function recorderFor(
  file: string | undefined,
  loaded: LoadedConfig,
  acts: boolean,
  telemetry: Telemetry,
): Recorder | undefined {
  if (file === undefined) return undefined;
  const redactor = createRedactor(secretsOf(loaded));
  try {
    return new Recorder({
      file,
      header: { version: packageVersion(), acts, policy: policyKeys(loaded.config) },
      now: () => new Date().toISOString(),
      clean: (text) => redactor.text(text),
      onError: (err) =>
        telemetry.emit('error', { err, doing: `recording to ${file}, which ends here` }),
    });
  } catch (error) {
    throw new ExitError(
      EXIT.usage,
      `--record ${file}: it cannot be written (${messageOf(error)}). Name a file in a folder that is there and is yours.`,
    );
  }
}

/** What the state machine decides by: the part of the configuration that a replay needs. */
const policyKeys = (config: Config): Record<string, unknown> => ({ ...copyPolicy(config) });
