/**
 * The server's API as the driver needs it, whether the server speaks that of 1.x or of 2.x. The server is probed before
 * the first call, because no daemon probes it for the driver.
 */
import type { DriverApi, RunEventReader } from './driver-api.js';
import { OpencodeError } from './http/errors.js';
import { Recognising, type RecognisingOptions } from './recognising.js';
import { DriverClientV1 } from './v1/driver-client.js';
import { DriverClientV2 } from './v2/driver-client.js';

/** If the server is silent for this long, the call is made anyway: its error says what is wrong. */
const RECOGNISE_MS = 10_000;

type Args<Name extends keyof DriverApi> = DriverApi[Name] extends (...args: infer A) => unknown
  ? A
  : never;

export class RecognisingDriverApi extends Recognising<DriverApi> implements DriverApi {
  #isRecognised = false;
  #recognising: Promise<unknown> | undefined;

  constructor({ api, username, ...options }: RecognisingOptions) {
    const one = new DriverClientV1({ ...options, ...(username !== undefined && { username }) });
    super({ 1: one, 2: new DriverClientV2({ ...options, parseStats: one.parseStats }) }, api);
  }

  override async probe(...args: Args<'probe'>) {
    const result = await super.probe(...args);
    this.#isRecognised ||= result.kind === 'ok';
    return result;
  }

  async recognised(signal?: AbortSignal): Promise<void> {
    if (!this.isAuto || this.#isRecognised) return;
    this.#recognising ??= this.probe(undefined, RECOGNISE_MS).finally(() => {
      this.#recognising = undefined;
    });
    await untilAborted(this.#recognising, signal);
  }

  /**
   * If the answer is not understood, the server may be another version by now. Then the call is made again with that
   * version's API: the first call had no effect.
   */
  protected override async call<R>(
    work: (api: DriverApi) => Promise<R>,
    signal?: AbortSignal,
  ): Promise<R> {
    await this.recognised(signal);
    const asked = this.now;
    try {
      return await work(asked);
    } catch (error) {
      if (!this.isAuto || !isNotUnderstood(error)) throw error;
      await this.probe(signal, RECOGNISE_MS);
      if (this.now === asked) throw error;
      return await work(this.now);
    }
  }

  get takesSchema(): boolean {
    return this.now.takesSchema;
  }

  isMissingRoute(error: unknown): boolean {
    return this.now.isMissingRoute(error);
  }

  /** One reader for each version. The one that fits the server reads. */
  runEvents(): RunEventReader {
    const readers = { 1: this.apis[1].runEvents(), 2: this.apis[2].runEvents() };
    return {
      read: (text) => readers[this.api].read(text),
      isHeartbeat: (head) => readers[this.api].isHeartbeat(head),
    };
  }

  createSession(...args: Args<'createSession'>) {
    return this.call((api) => api.createSession(...args), args[2]);
  }
  remove(...args: Args<'remove'>) {
    return this.call((api) => api.remove(...args), args[2]);
  }
  transcript(...args: Args<'transcript'>) {
    return this.call((api) => api.transcript(...args), args[2]?.signal);
  }
  send(...args: Args<'send'>) {
    return this.call((api) => api.send(...args), args[3]);
  }
  withdraw(...args: Args<'withdraw'>) {
    return this.call((api) => api.withdraw(...args));
  }
  catalog(...args: Args<'catalog'>) {
    return this.call((api) => api.catalog(...args), args[1]);
  }
  providers(...args: Args<'providers'>) {
    return this.call((api) => api.providers(...args), args[0]);
  }
  configuredModel(...args: Args<'configuredModel'>) {
    return this.call((api) => api.configuredModel(...args), args[0]);
  }
  modelFor(...args: Args<'modelFor'>) {
    return this.call((api) => api.modelFor(...args), args[2]);
  }
  agents(...args: Args<'agents'>) {
    return this.call((api) => api.agents(...args), args[1]);
  }
  asking(...args: Args<'asking'>) {
    return this.call((api) => api.asking(...args), args[0]);
  }
}

/** How another version answers our request: with a web page, or with 405 for the method. */
function isNotUnderstood(error: unknown): boolean {
  if (!(error instanceof OpencodeError)) return false;
  return error.kind === 'not_opencode' || (error.kind === 'http' && error.statusCode === 405);
}

/** Settles with the work, or as soon as the signal is aborted. */
function untilAborted(work: Promise<unknown>, signal: AbortSignal | undefined): Promise<unknown> {
  if (!signal) return work;
  return new Promise((resolve) => {
    const settle = () => {
      signal.removeEventListener('abort', settle);
      resolve(undefined);
    };
    signal.addEventListener('abort', settle);
    if (signal.aborted) settle();
    void work.then(settle, settle);
  });
}
