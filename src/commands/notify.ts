/** `notify test`: sends one message through every configured notification, and prints what each answered. */
import { type LoadedConfig, secretsOf } from '../config/load.js';
import { ConfigError, showValue } from '../config/problem.js';
import { notifiersOf, unknownEvents } from '../daemon/outputs.js';
import { SystemClock } from '../lib/clock.js';
import { createTelemetry, type TelemetryRecord } from '../telemetry/logger.js';
import { type ConfigOptions, complain, EXIT, ExitError, loadToAct, print } from './shared.js';

/** @throws ConfigError if an event that is asked for does not exist */
export function refuseUnknownEvents({ config, origins }: LoadedConfig): void {
  const source = origins.get('notify.webhooks') ?? 'default';
  const problems = unknownEvents(config).map(({ key, value, nearest }) => ({
    key,
    value: showValue(value),
    expected: `an event of docs/log-events.md; the nearest is ${nearest}`,
    source,
  }));
  if (problems.length > 0) throw new ConfigError(problems);
}

export async function notify([word]: readonly string[], options: ConfigOptions): Promise<number> {
  if (word !== 'test') throw new ExitError(EXIT.usage, `notify ${word}: expected notify test`);
  const loaded = await loadToAct(options);
  const { config } = loaded;
  refuseUnknownEvents(loaded);
  const clock = new SystemClock();
  const telemetry = createTelemetry({
    level: 'fatal',
    format: 'json',
    server: config.server.url,
    secrets: secretsOf(loaded),
    clock,
    stream: { write: () => {} },
  });
  const hooks = notifiersOf(loaded, telemetry, clock);
  if (hooks.length === 0) {
    throw new ExitError(
      EXIT.usage,
      'notify.webhooks and notify.command are empty: expected something to test',
    );
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
