/** The outputs besides the log, as configured: the history, the status endpoint and the notifications. */

import { join } from 'node:path';
import { healthSocketPath } from '../config/health-socket.js';
import { parseListen } from '../config/listen.js';
import { type LoadedConfig, secretsOf } from '../config/load.js';
import { pageLink } from '../config/page-link.js';
import type { Config } from '../config/schema.js';
import type { Secret } from '../config/secret.js';
import { makeStatusToken, statusTokenFile } from '../config/status-token.js';
import type { Clock } from '../lib/clock.js';
import { createRedactor } from '../lib/redaction.js';
import { openStateDirectory, serverStateDir } from '../lib/state-dir.js';
import { suggest } from '../lib/suggest.js';
import { EvidenceStore } from '../status/evidence-store.js';
import { HistoryStore } from '../status/history-store.js';
import { openStatus } from '../status/open.js';
import type { StatusSource } from '../status/source.js';
import { EVENT_NAMES } from '../telemetry/catalogue/catalogue.js';
import type { Telemetry } from '../telemetry/logger.js';
import { Webhook } from '../telemetry/notify/webhook.js';
import { type Notifier, NotifyCommand } from './notify-command.js';

/** The token of the status endpoint, and where it is. */
export interface StatusAccess {
  token?: Secret;
  file?: string;
  /** Why there is no token. */
  why?: string;
}

/**
 * Over TCP a token is needed. A unix socket is protected by its mode and needs one only if `status.tokenFile` asks for
 * it.
 */
export function statusAccess(
  { config, secrets }: LoadedConfig,
  env: NodeJS.ProcessEnv,
  cwd: string,
): StatusAccess {
  if (secrets.statusToken !== undefined) {
    return { token: secrets.statusToken, file: statusTokenFile(config, env, cwd) };
  }
  if (parseListen(config.status.listen)?.kind !== 'tcp') return {};
  const made = makeStatusToken(config, env);
  return made.kind === 'none' ? { why: made.why } : { token: made.token, file: made.file };
}

/**
 * Keeps what happened. A dry run owns nothing, so its history lives in memory. An observer has its own folder, because
 * it may run beside a daemon that acts.
 */
export function startHistory(
  { config }: LoadedConfig,
  env: NodeJS.ProcessEnv,
  telemetry: Telemetry,
  clock: Clock,
): { store: HistoryStore; directory: string | undefined; stop(): void } {
  const onProblem = (why: string) =>
    telemetry.emit('server.notice', {
      severity: 'warn',
      notice: `the history is not all on disk: ${why}; until that is fixed, what happens is remembered in memory only`,
    });
  const folder = config.dryRun
    ? undefined
    : openStateDirectory(historyDir(config, serverStateDir(env, config.server.url)));
  if (folder?.kind === 'unavailable') onProblem(folder.why);
  const directory = folder?.kind === 'available' ? folder.path : undefined;
  const store = new HistoryStore({ directory, clock, onProblem });
  const unsubscribe = telemetry.subscribe((record) => store.take(record));
  return {
    store,
    directory,
    stop() {
      unsubscribe();
      store.close();
    },
  };
}

/** The folder with the history of this configuration's server. @param serverDir the server's state directory */
export function historyDir({ server }: Config, serverDir: string): string {
  return server.control === 'observe' ? join(serverDir, 'observe') : serverDir;
}

/** The store of what was seen of a server before its restart. Undefined if nothing can be kept. */
export function evidenceStore(
  loaded: LoadedConfig,
  access: StatusAccess,
  directory: string | undefined,
): EvidenceStore | undefined {
  if (directory === undefined) return undefined;
  return new EvidenceStore(directory, [...secretsOf(loaded), ...secretsOfStatus(access)]);
}

interface WatcherOptions {
  loaded: LoadedConfig;
  access: StatusAccess;
  telemetry: Telemetry;
  clock: Clock;
  version: string;
  history?: HistoryStore;
}

/** Opens the endpoint of `status.listen`, if any. */
export function openStatusFor(
  { loaded, access, telemetry, clock, version, history }: WatcherOptions,
  source: StatusSource,
): { close(): Promise<void> } | undefined {
  const { config } = loaded;
  const address = parseListen(config.status.listen);
  // The schema lets only the three forms pass.
  if (address === undefined || address.kind === 'off') return undefined;
  return openStatus({
    source,
    telemetry,
    clock,
    redactor: createRedactor([...secretsOf(loaded), ...secretsOfStatus(access)]),
    address,
    token: access.token,
    tokenFile: access.file,
    noToken: access.why,
    acts: config.status.acts,
    healthSocket: healthSocketPath(process.env, config.server.url),
    version,
    url: config.server.url,
    history,
  });
}

export function secretsOfStatus({ token }: StatusAccess): Secret[] {
  return token === undefined ? [] : [token];
}

/** Sends the events to the webhooks and the command of the configuration, if any. */
export function startNotices({
  loaded,
  telemetry,
  clock,
}: Pick<WatcherOptions, 'loaded' | 'telemetry' | 'clock'>): {
  stop(): Promise<void>;
} {
  const hooks = notifiersOf(loaded, telemetry, clock);
  if (hooks.length === 0) return { stop: () => Promise.resolve() };
  const unsubscribe = telemetry.subscribe((record) => {
    for (const hook of hooks) hook.take(record);
  });
  return {
    async stop() {
      await Promise.all(hooks.map((hook) => hook.stop()));
      unsubscribe();
    },
  };
}

/** Makes the webhooks and the command of the configuration, each with what its messages say about their origin. */
export function notifiersOf(
  { config }: LoadedConfig,
  telemetry: Telemetry,
  clock: Clock,
): Notifier[] {
  const page =
    parseListen(config.status.listen)?.kind === 'tcp' ? pageLink(config, undefined) : undefined;
  const { url: server } = config.server;
  const about = { server, page, telemetry, clock };
  const webhooks = config.notify.webhooks.flatMap(({ url, ...webhook }) =>
    // The loader has either read the URL or refused the configuration.
    url === undefined ? [] : new Webhook({ ...webhook, ...about, url }),
  );
  const { command } = config.notify;
  return command.length === 0 ? webhooks : [...webhooks, new NotifyCommand({ ...about, command })];
}

/** Event names in the configuration that do not exist: without a warning, nobody would notice that they never come. */
export function unknownEvents({
  notify,
}: Config): { key: string; value: string; nearest: string }[] {
  const rooms = new Set(EVENT_NAMES.map((event) => event.split('.', 1)[0] ?? event));
  const known = new Set<string>([...EVENT_NAMES, ...rooms]);
  return notify.webhooks.flatMap(({ events }, at) =>
    events
      .filter((name) => !known.has(name))
      .map((name) => ({
        key: `notify.webhooks[${at}].events`,
        value: name,
        nearest: suggest(name, known) ?? '',
      })),
  );
}
