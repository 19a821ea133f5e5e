/**
 * Asks a Node process that was started with `--inspect` what its heap holds after a collection. Resident memory alone
 * cannot tell a leak from garbage that was not collected yet.
 */
import { WebSocket } from 'undici';

/** What Node prints when its inspector listens. */
const LISTENING = /Debugger listening on (ws:\S+)/;

export const inspectorUrl = (line: string): string | undefined => LISTENING.exec(line)?.[1];

interface Answer {
  id?: number;
  result?: Record<string, unknown>;
  error?: { message: string };
}

export class Inspector {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #last = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const answer = JSON.parse(String(data)) as Answer;
      if (answer.id === undefined) return;
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
  }

  static async open(url: string): Promise<Inspector> {
    const socket = new WebSocket(url);
    await new Promise<void>((resolve, reject) => {
      socket.addEventListener('open', () => resolve());
      socket.addEventListener('error', () => reject(new Error(`no inspector at ${url}`)));
    });
    return new Inspector(socket);
  }

  /** The live heap in bytes, after a full collection. */
  async liveHeap(): Promise<number> {
    await this.#ask('HeapProfiler.collectGarbage');
    const { usedSize } = await this.#ask('Runtime.getHeapUsage');
    return Number(usedSize);
  }

  /** What keeps the process alive (timers, sockets, requests), counted by kind. */
  async activeResources(): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    const { result } = await this.#ask('Runtime.evaluate', {
      expression: 'process.getActiveResourcesInfo().join()',
    });
    const { value } = result as { value?: unknown };
    for (const kind of String(value ?? '').split(',')) counts[kind] = (counts[kind] ?? 0) + 1;
    return counts;
  }

  close(): void {
    this.#socket.close();
  }

  #ask(method: string, params: object = {}): Promise<Record<string, unknown>> {
    this.#last += 1;
    const id = this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        if (error) reject(new Error(`${method}: ${error.message}`));
        else resolve(result ?? {});
      });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }
}
