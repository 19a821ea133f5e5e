/**
 * One run of one session as opencode 1.18.33 reports it. Each call changes the server's state and returns the frame for
 * it.
 */

import type { FakeServerState, FakeSession } from './fake-server-state.js';
import * as frames from './frames.js';
import { type Frame, json, newId } from './frames.js';
import type { Limits } from './scripts.js';
import type { Dialect, RequestKind, Simulated, Tool } from './simulated.js';

const WORDS = ' the quick brown fox jumps over the lazy dog'.repeat(30);

export const OPENCODE_1: Dialect = {
  api: 1,
  created: (session) => frames.sessionEvent(session, 'created', session.info()),
  simulate: (state, session) => new SimulatedSession(state, session),
};

class SimulatedSession implements Simulated {
  readonly session: FakeSession;
  readonly #state: FakeServerState;
  #assistant = '';
  #text = { id: '', length: 0, start: 0 };

  constructor(state: FakeServerState, session: FakeSession) {
    this.#state = state;
    this.session = session;
  }

  status(value: string | undefined): Frame {
    this.session.status = value;
    return frames.status(this.session, value ?? '{"type":"idle"}');
  }

  busy = (): Frame => this.status('{"type":"busy"}');

  retry(attempt: number, nextInMs: number, message: string, action?: object): Frame {
    const next = Date.now() + nextInMs;
    return this.status(json({ type: 'retry', attempt, message, next, ...(action && { action }) }));
  }

  touched(): Frame {
    this.session.updated = Date.now();
    return frames.sessionEvent(this.session, 'updated', this.session.info());
  }

  prompt(): Frame {
    const { id, model } = this.session;
    const info = json({
      id: newId('msg'),
      role: 'user',
      sessionID: id,
      time: { created: Date.now() },
      agent: 'build',
      model: { providerID: 'fake', modelID: model },
    });
    this.session.messages = [{ info, parts: new Map() }];
    return frames.message(this.session, info);
  }

  /** The assistant's message begins: the model gets its request. */
  ask(extra: object = {}): Frame {
    this.#assistant = newId('msg');
    const info = this.#assistantInfo(extra);
    this.session.messages = [...this.session.messages.slice(0, 1), { info, parts: new Map() }];
    return frames.message(this.session, info);
  }

  /** The assistant's message has ended. */
  answered(finish: 'stop' | 'tool-calls'): Frame {
    const info = this.#assistantInfo({ finish }, { completed: Date.now() });
    const last = this.session.messages.at(-1);
    if (last) last.info = info;
    return frames.message(this.session, info);
  }

  stepStart = (): Frame => this.#part(newId('prt'), { type: 'step-start' });

  stepFinish = (reason: 'stop' | 'tool-calls'): Frame =>
    this.#part(newId('prt'), {
      type: 'step-finish',
      reason,
      tokens: { total: 15, input: 10, output: 5, reasoning: 0, cache: { write: 0, read: 0 } },
      cost: 0,
    });

  textBegins(): Frame {
    const text = { id: newId('prt'), length: 0, start: Date.now() };
    this.#text = text;
    const value = (length: number) => ({
      type: 'text',
      text: 'x'.repeat(length),
      time: { start: text.start },
    });
    const frame = this.#part(text.id, value(0));
    // Made when it is read, because deltas come too often.
    const shown = () => this.#json(text.id, value(text.length));
    this.session.messages.at(-1)?.parts.set(text.id, shown);
    return frame;
  }

  delta(chars: number): Frame {
    const { id, length } = this.#text;
    const text = WORDS.slice(length % 40, (length % 40) + chars);
    this.#text.length += text.length;
    return frames.delta(this.session, this.#assistant, id, text);
  }

  textEnds(): Frame {
    const { id, length, start } = this.#text;
    const text = WORDS.repeat(Math.ceil(length / WORDS.length)).slice(0, length);
    return this.#part(id, { type: 'text', text, time: { start, end: Date.now() } });
  }

  compaction = (): Frame => this.#part(newId('prt'), { type: 'compaction', auto: true });

  tool(name: string, input: object): Tool {
    return { name, callID: newId('call'), partID: newId('prt'), start: 0, input };
  }

  pending = (tool: Tool): Frame => this.#tool(tool, { status: 'pending', input: {}, raw: '' });

  running(tool: Tool, metadata?: object): Frame {
    tool.start ||= Date.now();
    const time = { start: tool.start };
    const state = { ...(metadata && { metadata }), status: 'running', input: tool.input, time };
    return this.#tool(tool, state);
  }

  /** A tool that has printed `chars` so far. opencode repeats the whole output in each update. */
  printed = (tool: Tool, chars: number): Frame =>
    this.running(tool, { output: WORDS.repeat(Math.ceil(chars / WORDS.length)).slice(0, chars) });

  done(tool: Tool, chars: number): Frame {
    const output = WORDS.repeat(Math.ceil(chars / WORDS.length)).slice(0, chars);
    return this.#tool(tool, {
      status: 'completed',
      input: tool.input,
      output,
      metadata: { output, exit: 0, truncated: false },
      title: tool.name,
      time: { start: tool.start, end: Date.now() },
    });
  }

  failed = (tool: Tool, error: string): Frame =>
    this.#tool(tool, {
      status: 'error',
      input: tool.input,
      error,
      time: { start: tool.start, end: Date.now() },
    });

  asks(kind: RequestKind, tool: Tool): { id: string; frame: Frame } {
    const id = newId(kind === 'permission' ? 'per' : 'que');
    const { id: sessionID } = this.session;
    const call = { messageID: this.#assistant, callID: tool.callID };
    const text =
      kind === 'permission'
        ? json({ id, sessionID, permission: 'bash', patterns: ['ls'], metadata: {}, tool: call })
        : json({ id, sessionID, questions: [{ question: 'Which?', header: 'Way' }], tool: call });
    this.#state.pending.set(id, { kind, session: this.session, text });
    return { id, frame: frames.asked(this.session, kind, text) };
  }

  answers(kind: RequestKind, id: string): Frame {
    this.#state.pending.delete(id);
    return frames.replied(this.session, kind, id);
  }

  diff = (): Frame => frames.diff(this.session);
  idle = (): Frame => frames.idle(this.session);
  compacted = (): Frame => frames.compacted(this.session);
  deleted = (): Frame => frames.sessionEvent(this.session, 'deleted', this.session.info());

  refused = (message: string, statusCode: number): Frame =>
    frames.error(this.session, {
      name: 'APIError',
      data: { message, statusCode, isRetryable: false },
    });

  aborted = (): Frame =>
    frames.error(this.session, { name: 'MessageAbortedError', data: { message: 'Aborted' } });

  unansweredUntil = ({ silence }: Limits): number => this.session.saidAt + silence;

  stuck(at: number, from = at): void {
    const { run } = this.session;
    if (run === undefined) return;
    if (run.due === undefined) this.#state.findings.stuck += 1;
    run.due = { at, from };
  }

  #assistantInfo(extra: object, time: object = {}): string {
    return json({
      id: this.#assistant,
      role: 'assistant',
      parentID: 'msg_0',
      sessionID: this.session.id,
      mode: 'build',
      agent: 'build',
      path: { cwd: this.session.directory, root: '/' },
      cost: 0,
      tokens: { input: 0, output: 0, reasoning: 0, cache: { read: 0, write: 0 } },
      modelID: this.session.model,
      providerID: 'fake',
      time: { created: Date.now(), ...time },
      ...extra,
    });
  }

  #tool({ name, callID, partID }: Tool, state: object): Frame {
    return this.#part(partID, { type: 'tool', tool: name, callID, state });
  }

  #part(id: string, value: object): Frame {
    return frames.part(this.session, this.#show(id, value));
  }

  #show(id: string, value: object): string {
    const text = this.#json(id, value);
    this.session.messages.at(-1)?.parts.set(id, () => text);
    return text;
  }

  #json(id: string, value: object): string {
    return json({ id, messageID: this.#assistant, sessionID: this.session.id, ...value });
  }
}
