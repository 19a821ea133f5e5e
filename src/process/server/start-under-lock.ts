/** Starts a server for a command or the library: only where no other process of ours does. */
import { type ControlDeps, ControlError } from '../control/control.js';
import { LockHeldError, type LockOptions, underLock } from '../lock.js';
import { awaitHealth } from './await-health.js';

export interface StartUnderLockOptions {
  lock: Omit<LockOptions, 'caller' | 'waitMs' | 'signal'>;
  isHealthy: ControlDeps['isHealthy'];
  startTimeoutMs: number;
  signal: AbortSignal;
  /** Starts the server, or finds that it runs. */
  start(): Promise<void>;
}

/**
 * A command that starts the server now is waited for: `start` then finds its server. Where a daemon watches the server,
 * that daemon starts it, and only the server's health is waited for.
 * @throws ControlError, LockHeldError, and what `start` throws
 */
export async function startUnderLock(options: StartUnderLockOptions): Promise<void> {
  const { lock, isHealthy, startTimeoutMs, signal, start } = options;
  try {
    await underLock({ ...lock, caller: 'command', waitMs: startTimeoutMs, signal }, start);
  } catch (error) {
    if (!(error instanceof LockHeldError) || error.caller !== 'daemon') throw error;
    const { clock, onWait } = lock;
    onWait?.(`waiting for the server of opencode-watchdog (pid ${error.pid}), which watches it …`);
    const deps = { isHealthy };
    const outcome = await awaitHealth({ deps, clock, timeoutMs: startTimeoutMs, signal });
    if (outcome.kind === 'healthy') return;
    throw new ControlError(
      `opencode-watchdog (pid ${error.pid}) watches this server, so only that daemon starts it, and no server has answered within ${startTimeoutMs} ms (server.startTimeout): "opencode-watchdog status" says why`,
      { serverAlive: false },
    );
  }
}
