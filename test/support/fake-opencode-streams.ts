/** The fake opencode's event streams: who is connected, what is sent to them, how they go silent. */
import type { ServerResponse } from 'node:http';

export interface FakeEvent {
  type: string;
  properties?: Record<string, unknown>;
}

interface Stream {
  res: ServerResponse;
  /** `/event` gets one directory's events. `/global/event` (undefined) gets all of them, in envelopes. */
  directory: string | undefined;
  silent: boolean;
}

export class FakeStreams {
  /** While true, new streams send nothing, not even their first frame. */
  muteNew = false;
  private readonly streams = new Set<Stream>();
  private lastId = 0;

  constructor(heartbeatMs: number | null) {
    if (heartbeatMs !== null) {
      this.heartbeat = setInterval(() => this.send({ type: 'server.heartbeat' }), heartbeatMs);
    }
  }

  private readonly heartbeat: NodeJS.Timeout | undefined;

  get size(): number {
    return this.streams.size;
  }

  open(res: ServerResponse, directory: string | undefined, endsAtOnce: boolean): void {
    const stream: Stream = { res, directory, silent: this.muteNew };
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    res.flushHeaders();
    this.write(stream, { type: 'server.connected' });
    if (endsAtOnce) {
      res.end();
      return;
    }
    this.streams.add(stream);
    res.once('close', () => this.streams.delete(stream));
  }

  /** `directory` undefined: one of the server's own events, sent to every stream without an envelope. */
  send(event: FakeEvent, directory?: string): void {
    for (const stream of this.streams) {
      const hears = stream.directory === undefined || stream.directory === directory;
      if (hears || directory === undefined) this.write(stream, event, directory);
    }
  }

  /** Sends any text: half a frame, broken JSON, a comment. */
  sendRaw(text: string): void {
    for (const { res } of this.streams) res.write(text);
  }

  end(): void {
    for (const { res } of this.streams) res.end();
  }

  /** The streams that are open now stay open, and send nothing more. */
  silence(): void {
    for (const stream of this.streams) stream.silent = true;
  }

  close(): void {
    clearInterval(this.heartbeat);
    for (const { res } of this.streams) res.destroy();
  }

  private write({ res, directory: only, silent }: Stream, event: FakeEvent, directory?: string) {
    if (silent) return;
    this.lastId += 1;
    const { type, properties = {} } = event;
    const payload = { id: `evt_${this.lastId}`, type, properties };
    const frame =
      only !== undefined
        ? payload
        : { ...(directory !== undefined && { directory, project: 'global' }), payload };
    res.write(`data: ${JSON.stringify(frame)}\n\n`);
  }
}
