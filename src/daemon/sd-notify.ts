/**
 * Speaks sd_notify(3) to the service manager by systemd's own tool, `systemd-notify`. Sends nothing if there is no
 * manager.
 *
 * The protocol is datagrams on a unix socket, which Node cannot send. The maintained addons for it either compile at
 * install (unix-dgram, sd-notify) or bring a whole foreign function interface into the process (koffi). systemd-notify
 * is wherever systemd is, costs some milliseconds of another process, and waits until the manager has read the message
 * (systemd 246), so no message is lost because its sender has ended. Because the sender is a child, the unit needs
 * NotifyAccess=all.
 */
import { spawn } from 'node:child_process';

/**
 * How long the tool may take, ms. The service manager answers within milliseconds; if it does not, children must not
 * pile up.
 */
const SEND_TIMEOUT_MS = 10_000;

/** A newer line replaces one with its key. READY, RELOADING and STOPPING share one: of two, systemd might obey the older. */
type Key = 'state' | 'EXTEND_TIMEOUT_USEC' | 'STATUS' | 'WATCHDOG';
/** These hold until a newer one comes. The others are about one moment, and are not sent later. */
const LASTING: readonly Key[] = ['state', 'STATUS'];

/** Sends one message with lines of the form `KEY=value`. @throws if it did not arrive */
export type Send = (lines: readonly string[]) => Promise<void>;

export interface SdNotifyOptions {
  env: NodeJS.ProcessEnv;
  /** Called for the first failure only: a status line is not worth a line of log every few seconds. */
  onError(error: unknown): void;
  pid?: number;
  send?: Send;
}

export class SdNotify {
  /** False outside systemd, and in units that are not `Type=notify`: then nothing is ever sent. */
  readonly enabled: boolean;
  /** The time within which the manager wants a sign of life (`WatchdogSec=`), ms. Undefined if it wants none. */
  readonly watchdogMs: number | undefined;
  readonly #send: Send;
  readonly #onError: (error: unknown) => void;
  /** Whole lines. */
  #pending = new Map<Key, string>();
  #sending: Promise<void> | undefined;
  #failed = false;
  #stopping = false;

  constructor({ env, onError, pid = process.pid, send }: SdNotifyOptions) {
    const socket = env.NOTIFY_SOCKET;
    this.enabled = socket !== undefined && socket !== '';
    this.watchdogMs = this.enabled ? watchdogMs(env, pid) : undefined;
    this.#send = send ?? ((lines) => systemdNotify(lines, env));
    this.#onError = onError;
  }

  ready(): void {
    this.#pending.delete('EXTEND_TIMEOUT_USEC');
    this.#queue('state', 'READY=1');
  }

  /** Asks that the start may take at least this much longer from now on, ms. */
  extendStart(ms: number): void {
    this.#queue('EXTEND_TIMEOUT_USEC', `EXTEND_TIMEOUT_USEC=${ms * 1_000}`);
  }

  reloading(): void {
    this.#queue('state', 'RELOADING=1');
  }

  stopping(): void {
    this.#stopping = true;
    // It would extend the stop.
    this.#pending.delete('EXTEND_TIMEOUT_USEC');
    this.#queue('state', 'STOPPING=1');
  }

  /** The line that `systemctl status` shows. */
  status(text: string): void {
    this.#queue('STATUS', `STATUS=${text.replaceAll(/\s+/g, ' ').trim()}`);
  }

  /** The sign of life that `WatchdogSec=` asks for. */
  alive(): void {
    this.#queue('WATCHDOG', 'WATCHDOG=1');
  }

  /** Sends what could not be sent before and still holds. */
  resend(): void {
    if (this.#pending.size > 0) this.#start();
  }

  /** Settles when everything queued has been sent, or has been tried. */
  async settled(): Promise<void> {
    while (this.#sending) await this.#sending;
  }

  #queue(key: Key, line: string): void {
    if (!this.enabled) return;
    this.#pending.set(key, line);
    this.#start();
  }

  #start(): void {
    // A microtask later, so that everything queued in one go is one message.
    this.#sending ??= Promise.resolve()
      .then(() => this.#drain())
      .finally(() => {
        this.#sending = undefined;
      });
  }

  async #drain(): Promise<void> {
    while (this.#pending.size > 0) {
      const message = this.#pending;
      this.#pending = new Map();
      try {
        await this.#send([...message.values()]);
      } catch (error) {
        // While the daemon stops, the manager may end the tool together with everything else.
        if (!this.#failed && !this.#stopping) this.#onError(error);
        this.#failed = true;
        // If the manager never read that the daemon is ready, it would end it.
        const lasting = [...message].filter(([key]) => LASTING.includes(key));
        const hasNews = this.#pending.size > 0;
        this.#pending = new Map([...lasting, ...this.#pending]);
        if (!hasNews) return;
      }
    }
  }
}

/**
 * sd_watchdog_enabled(3): the value is in microseconds. If a pid is given, it is meant for us only if the pid is ours.
 */
function watchdogMs(env: NodeJS.ProcessEnv, pid: number): number | undefined {
  const usec = Number(env.WATCHDOG_USEC);
  if (!Number.isFinite(usec) || usec <= 0) return undefined;
  if (env.WATCHDOG_PID && Number(env.WATCHDOG_PID) !== pid) return undefined;
  return usec / 1_000;
}

function systemdNotify(lines: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve, reject) => {
    // The tool needs the socket and the path that it is found in, not our secrets.
    const { NOTIFY_SOCKET, PATH } = env;
    const child = spawn('systemd-notify', ['--', ...lines], {
      env: { NOTIFY_SOCKET, PATH },
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: SEND_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = `${said}${text}`.slice(0, 500);
    });
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`systemd-notify ended with ${signal ?? code}: ${said.trim()}`));
    });
  });
}
