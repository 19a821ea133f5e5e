/** Starts a server for a command or the library: only where no other process of ours does. */
import { type ControlDeps, ControlError, type ServerControl } from '../control/control.js';
import { LockHeldError, type LockOptions, underLock } from '../lock.js';
import { awaitHealth } from './await-health.js';

export interface StartUnderLockOptions {
  lock: Omit<LockOptions, 'caller' | 'waitMs' | 'signal'>;
  isHealthy: ControlDeps['isHealthy'];
  startTimeoutMs: number;
  signal: AbortSignal;
  /** Called under the lock. The control's `start` starts the server, or finds that it runs. */
  openControl(): Promise<Pick<ServerControl, 'start' | 'dispose'>>;
}

/**
 * Starts the server and leaves it running. A command that starts the server now is waited for: the start then finds its
 * server. Where a daemon watches the server, that daemon starts it, and only the server's health is waited for.
 * @throws ControlError, LockHeldError, and what `openControl` throws
 */
export async function startUnderLock(options: StartUnderLockOptions): Promise<void> {
  const { lock, isHealthy, startTimeoutMs, signal, openControl } = options;
  const start = async () => {
    const control = await openControl();
    try {
      await control.start(signal);
    } finally {
      await control.dispose('leave');
    }
  };
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
