/** Who looks on and is told besides the log: the status endpoint and the webhooks, as the configuration has them. */

import { parseListen } from './config/listen.js';
import { type LoadedConfig, secretsOf } from './config/load.js';
import type { Clock } from './lib/clock.js';
import type { Telemetry } from './telemetry/logger.js';
import { createRedactor } from './telemetry/redact.js';
import { openStatus } from './telemetry/status/open.js';
import type { StatusSource } from './telemetry/status/source.js';

interface WatcherOptions {
  loaded: LoadedConfig;
  telemetry: Telemetry;
  clock: Clock;
  version: string;
}

/** Opens the endpoint of `status.listen`, if any. */
export function openStatusFor(
  { loaded, telemetry, clock, version }: WatcherOptions,
  source: StatusSource,
): { close(): Promise<void> } | undefined {
  const { config, secrets } = loaded;
  const address = parseListen(config.status.listen);
  // The schema lets only the three forms pass.
  if (address === undefined || address.kind === 'off') return undefined;
  return openStatus({
    source,
    telemetry,
    clock,
    redactor: createRedactor(secretsOf(loaded)),
    address,
    token: secrets.statusToken,
    version,
    url: config.server.url,
  });
}
