/** Checks whether a prompt can be sent: the server is up and has a provider. `start` starts one where nobody listens. */
import type { DriverApi } from '../driver-api.js';
import type { ProbeResult } from '../server-api.js';
import { listModels } from './catalog.js';
import { adviceFor, asDriverError, DriverError } from './error.js';
import type { Availability, DriverOptions } from './types.js';

const PROBE_TIMEOUT_MS = 10_000;

export interface AvailabilityContext
  extends Pick<DriverOptions, 'findBinary' | 'startServer' | 'onNotice'> {
  client: DriverApi;
}

export interface CheckOptions {
  start?: boolean;
  signal?: AbortSignal;
}

/**
 * A check that fails is a result, not an error. @throws DriverError if the start fails or the server's answers cannot
 * be read
 */
export async function checkAvailability(
  context: AvailabilityContext,
  { start = false, signal }: CheckOptions,
): Promise<Availability> {
  const { client } = context;
  const binary = await context.findBinary?.();
  const base = { url: client.url, ...(binary && { binary }) };
  let server = await probeServer(client, signal);
  let started = false;
  if (start && nobodyListens(server)) {
    await startServer(context, signal);
    started = true;
    server = await probeServer(client, signal);
  }
  if (server.kind !== 'up')
    return { ok: false, ...base, server: { up: false, error: server.error } };
  const { version } = server;
  try {
    const { connected, configured } = await listModels(client, { all: false, signal });
    return {
      ok: connected.length > 0,
      ...base,
      server: { up: true, ...(version !== undefined && { version }) },
      providers: { connected, ...(configured !== undefined && { defaultModel: configured }) },
      ...(started && { started }),
    };
  } catch (error) {
    throw asDriverError(error);
  }
}

export type ServerState =
  | { kind: 'up'; version?: string }
  | {
      /** `unsupported`: it is alive and not understood, so a new server would find its port taken. */
      kind: 'down' | 'unauthorized' | 'unsupported';
      error: string;
      probe: Exclude<ProbeResult, { kind: 'ok' | 'aborted' }>;
    };

/**
 * Only then is a start right. What holds the port and does not answer may be a slow or frozen server with runs in it,
 * and ending those is never a part of a start.
 */
export function nobodyListens(state: ServerState): boolean {
  return (
    state.kind === 'down' && state.probe.kind === 'failed' && state.probe.failure === 'refused'
  );
}

/** @throws DriverError `aborted` */
export async function probeServer(
  client: Pick<DriverApi, 'probe'>,
  signal?: AbortSignal,
): Promise<ServerState> {
  const probe = await client.probe(signal, PROBE_TIMEOUT_MS);
  switch (probe.kind) {
    case 'ok':
      return { kind: 'up', ...(probe.version !== undefined && { version: probe.version }) };
    case 'unauthorized':
    case 'unsupported':
      return { kind: probe.kind, error: probe.error, probe };
    case 'failed':
      return { kind: 'down', error: `${probe.error} ${adviceFor(probe.failure)}`, probe };
    case 'aborted':
      throw new DriverError('aborted', 'the check was interrupted.');
  }
}

async function startServer(
  { client, startServer, onNotice }: AvailabilityContext,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!startServer) {
    throw new DriverError(
      'usage',
      'this driver was given no way to start a server (`startServer`).',
    );
  }
  onNotice?.(`starting opencode serve for ${client.url}`);
  await startServer(signal);
}
