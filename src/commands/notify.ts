/** `notify test`: one message through every configured notification, and what each answered. */
import { secretsOf } from '../config/load.js';
import type { Config } from '../config/schema.js';
import { unknownEvents, webhooksOf } from '../daemon/outputs.js';
import { SystemClock } from '../lib/clock.js';
import { createTelemetry, type TelemetryRecord } from '../telemetry/logger.js';
import { type ConfigOptions, complain, EXIT, ExitError, loadToAct, print } from './shared.js';

/** @throws ExitError with exit code 2 where an event that is asked for does not exist */
export function refuseUnknownEvents(config: Config): void {
  const problem = unknownEvents(config);
  if (problem !== undefined) throw new ExitError(EXIT.usage, problem);
}

export async function notify([word]: readonly string[], options: ConfigOptions): Promise<number> {
  if (word !== 'test') throw new ExitError(EXIT.usage, `notify ${word}: expected notify test`);
  const loaded = await loadToAct(options);
  const { config } = loaded;
  refuseUnknownEvents(config);
  const clock = new SystemClock();
  const telemetry = createTelemetry({
    level: 'fatal',
    format: 'json',
    server: config.server.url,
    secrets: secretsOf(loaded),
    clock,
    stream: { write: () => {} },
  });
  const hooks = webhooksOf(loaded, telemetry, clock);
  if (hooks.length === 0) {
    throw new ExitError(EXIT.usage, 'notify.webhooks: expected at least one webhook to test');
  }
  const ends = await Promise.all(
    hooks.map(async (hook) => {
      const failed = await hook.test(testRecord(clock.epoch()));
      await hook.stop();
      return { host: hook.host, failed };
    }),
  );
  clock.stop();
  for (const { host, failed } of ends) {
    if (failed === undefined) print(`${host}: taken`);
    else complain(`${host}: not taken: ${failed}`);
  }
  return ends.every(({ failed }) => failed === undefined) ? EXIT.done : EXIT.failed;
}

function testRecord(time: number): TelemetryRecord {
  const notice = 'This is a test of the notifications of opencode-watchdog.';
  return {
    event: 'server.notice',
    level: 'info',
    time,
    msg: notice,
    fields: { severity: 'info', notice },
  };
}
