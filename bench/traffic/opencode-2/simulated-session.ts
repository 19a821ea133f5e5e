/**
 * One run of one session as OpenCode 2 reports it (opencode-2-facts, sections 3 and 4). It was not checked against a
 * real server. A step begins with the provider's first event, and there are no frames for attempts, diffs and idle.
 */
import type { FakeServerState, FakeSession } from '../fake-server-state.js';
import { type Frame, json, newId } from '../frames.js';
import type { Limits } from '../scripts.js';
import type { Dialect, RequestKind, Simulated, Tool } from '../simulated.js';
import { frame, NOTHING, together } from './frames.js';

const WORDS = ' the quick brown fox jumps over the lazy dog'.repeat(30);
const TOKENS = { input: 10, output: 5, reasoning: 0, cache: { read: 0, write: 0 } };
const RUNNING = '{"type":"running"}';

type End = ['succeeded' | 'failed' | 'interrupted', object];

export const OPENCODE_2: Dialect = {
  api: 2,
  created: (session) => {
    const { directory, parentID, title } = session;
    return frame(session, 'session.created', {
      projectID: 'global',
      location: { directory },
      slug: 'stellar-squid',
      version: '2.0.26',
      title,
      ...(parentID !== undefined && { parentID }),
    });
  },
  simulate: (state, session) => new SimulatedSession2(state, session),
};

export class SimulatedSession2 implements Simulated {
  readonly session: FakeSession;
  readonly #state: FakeServerState;
  readonly #startedAt = performance.now();
  #executing = false;
  #delivered = false;
  /** The step was requested and has not begun. */
  #held = false;
  #messageID = '';
  #message: Record<string, unknown> = {};
  #text = { length: 0, ordinal: 0, start: 0 };
  #compacting = false;
  #end: End = ['succeeded', {}];

  constructor(state: FakeServerState, session: FakeSession) {
    this.#state = state;
    this.session = session;
  }

  status(value: string | undefined): Frame {
    if (value !== undefined) return this.busy();
    this.session.status = undefined;
    this.#executing = false;
    const [how, data] = this.#end;
    return together(
      frame(this.session, `session.execution.${how}`, data),
      frame(this.session, 'session.viewed', { idle: Date.now() }),
    );
  }

  busy(): Frame {
    if (this.#executing) return NOTHING;
    this.#executing = true;
    this.session.status = RUNNING;
    return frame(this.session, 'session.execution.started', {});
  }

  retry(attempt: number, nextInMs: number, message: string): Frame {
    const began = this.#begins();
    const error = { type: 'provider.rate-limit', message, status: 429 };
    const retry = { attempt: attempt + 1, at: Date.now() + nextInMs, error };
    this.#message.retry = retry;
    this.#show();
    this.#held = true;
    const data = { assistantMessageID: this.#messageID, ...retry };
    return together(began, frame(this.session, 'session.retry.scheduled', data));
  }

  touched(): Frame {
    this.session.updated = Date.now();
    return NOTHING;
  }

  prompt(): Frame {
    const id = newId('msg');
    const time = { created: Date.now() };
    const info = json({ id, type: 'user', text: 'x', time });
    this.session.messages = [{ info, parts: new Map() }];
    const item = { type: 'user', payload: { text: 'x' }, delivery: 'steer' };
    return frame(this.session, 'session.inbox.enqueued', { inboxID: id, item });
  }

  diff = (): Frame => NOTHING;

  ask(): Frame {
    if (this.#compacting) return NOTHING;
    this.#held = true;
    this.#messageID = newId('msg');
    if (this.#delivered) return NOTHING;
    this.#delivered = true;
    return frame(this.session, 'session.inbox.delivered', { inboxID: newId('msg') });
  }

  answered = (): Frame => NOTHING;
  idle = (): Frame => NOTHING;
  stepStart = (): Frame => this.#begins();

  stepFinish(finish: 'stop' | 'tool-calls'): Frame {
    const began = this.#begins();
    Object.assign(this.#message, { finish, cost: 0, tokens: TOKENS });
    Object.assign(this.#message.time as object, { completed: Date.now() });
    this.#show();
    const { session } = this;
    const assistantMessageID = this.#messageID;
    return together(
      began,
      frame(session, 'session.step.streamed', { assistantMessageID }),
      frame(session, 'session.step.ended', { assistantMessageID, finish, cost: 0, tokens: TOKENS }),
      frame(session, 'session.usage.updated', { cost: 0, tokens: TOKENS }),
    );
  }

  textBegins(): Frame {
    if (this.#compacting) return NOTHING;
    const began = this.#begins();
    const text = { length: 0, ordinal: this.#text.ordinal + 1, start: Date.now() };
    this.#text = text;
    // Made when it is read, because deltas come too often.
    this.session.messages
      .at(-1)
      ?.parts.set(`text ${text.ordinal}`, () =>
        json({ type: 'text', text: 'x'.repeat(text.length), time: { created: text.start } }),
      );
    return together(began, this.#says('text.started', {}));
  }

  delta(chars: number): Frame {
    const { length } = this.#text;
    const delta = WORDS.slice(length % 40, (length % 40) + chars);
    if (this.#compacting) return frame(this.session, 'session.compaction.delta', { text: delta });
    const began = this.#begins();
    this.#text.length += delta.length;
    return together(began, this.#says('text.delta', { delta }));
  }

  textEnds(): Frame {
    if (this.#compacting) return NOTHING;
    const { length } = this.#text;
    const text = WORDS.repeat(Math.ceil(length / WORDS.length)).slice(0, length);
    return this.#says('text.ended', { text });
  }

  compaction(): Frame {
    this.#compacting = true;
    const info = json({
      id: newId('msg'),
      type: 'compaction',
      status: 'running',
      reason: 'auto',
      time: { created: Date.now() },
    });
    this.session.messages.push({ info, parts: new Map() });
    return frame(this.session, 'session.compaction.started', { reason: 'auto' });
  }

  compacted(): Frame {
    this.#compacting = false;
    this.session.messages.pop();
    const data = { reason: 'auto', text: 'x', cost: 0, tokens: TOKENS };
    return frame(this.session, 'session.compaction.ended', data);
  }

  tool(name: string, input: object): Tool {
    const of = { bash: 'shell', task: 'subagent' }[name] ?? name;
    return { name: of, callID: newId('call'), partID: newId('prt'), start: 0, input };
  }

  pending(tool: Tool): Frame {
    const began = this.#begins();
    this.#shows(tool, { status: 'streaming', input: '' });
    const data = { ...this.#call(tool), name: tool.name };
    return together(began, frame(this.session, 'session.tool.input.started', data));
  }

  running(tool: Tool, metadata?: { sessionId: string }): Frame {
    const isKnown = this.session.messages.at(-1)?.parts.has(tool.partID) === true;
    const began = isKnown ? NOTHING : this.pending(tool);
    tool.start ||= Date.now();
    const child = metadata && { sessionID: metadata.sessionId, status: 'running' };
    this.#shows(tool, { status: 'running', input: tool.input, metadata: child ?? {} });
    const called = { ...this.#call(tool), input: tool.input, executed: true };
    const { session } = this;
    return together(
      began,
      frame(session, 'session.tool.input.ended', { ...this.#call(tool), text: json(tool.input) }),
      frame(session, 'session.tool.called', called),
      child === undefined ? NOTHING : this.#progress(tool, child),
    );
  }

  printed = (tool: Tool): Frame => this.#progress(tool, { shellID: tool.partID });

  done(tool: Tool, chars: number): Frame {
    const text = WORDS.repeat(Math.ceil(chars / WORDS.length)).slice(0, chars);
    const content = [{ type: 'text', text }];
    this.#shows(tool, { status: 'completed', input: tool.input, content });
    const data = { ...this.#call(tool), content, executed: true };
    return frame(this.session, 'session.tool.success', data);
  }

  failed(tool: Tool, message: string): Frame {
    const error = { type: 'aborted', message };
    this.#shows(tool, { status: 'error', input: tool.input, error });
    const data = { ...this.#call(tool), error, executed: true };
    return frame(this.session, 'session.tool.failed', data);
  }

  asks(kind: RequestKind, tool: Tool): { id: string; frame: Frame } {
    const { session } = this;
    const isForm = kind === 'question';
    const id = newId(isForm ? 'frm' : 'per');
    const call = { messageID: this.#messageID, id: tool.callID };
    const request = isForm
      ? { id, sessionID: session.id, title: 'Questions', fields: [{ key: 'q0', title: 'Which?' }] }
      : {
          id,
          sessionID: session.id,
          action: 'shell',
          resources: ['ls'],
          source: { type: 'tool', ...call },
        };
    this.#state.pending.set(id, { kind, session, text: json(request) });
    return {
      id,
      frame: isForm
        ? frame(session, 'form.created', { form: request })
        : frame(session, 'permission.asked', request),
    };
  }

  answers(kind: RequestKind, id: string): Frame {
    this.#state.pending.delete(id);
    return kind === 'question'
      ? frame(this.session, 'form.replied', { id, answer: { q0: 'yes' } })
      : frame(this.session, 'permission.replied', { requestID: id, reply: 'once' });
  }

  refused(message: string, status: number): Frame {
    const error = { type: 'provider.auth', message, status };
    const began = this.#begins();
    this.#end = ['failed', { error }];
    const data = { assistantMessageID: this.#messageID, error };
    return together(began, frame(this.session, 'session.step.failed', data));
  }

  aborted(): Frame {
    const error = { type: 'aborted', message: 'Step interrupted' };
    this.#end = ['interrupted', { reason: 'user' }];
    const data = { assistantMessageID: this.#messageID, error };
    return frame(this.session, 'session.step.failed', data);
  }

  deleted = (): Frame => frame(this.session, 'session.deleted', {});

  stuck(at: number, from = at): void {
    const { run } = this.session;
    if (run === undefined) return;
    if (run.due === undefined) this.#state.findings.stuck += 1;
    run.due = { at, from };
  }

  /** No frame says that the request was made: the run counts as preparing, and gets the time of a tool. */
  unansweredUntil({ toolTime }: Limits): number {
    return this.#startedAt + toolTime;
  }

  /** The provider's first event of a step. */
  #begins(): Frame {
    if (!this.#held) return NOTHING;
    this.#held = false;
    const { session } = this;
    const model = { id: session.model, providerID: 'fake' };
    if (this.#message.id !== this.#messageID) {
      session.messages = [...session.messages.slice(0, 1), { info: '', parts: new Map() }];
    }
    this.#message = {
      id: this.#messageID,
      type: 'assistant',
      agent: 'build',
      model,
      time: { created: Date.now() },
    };
    this.#show();
    const step = { assistantMessageID: this.#messageID, agent: 'build', model };
    return frame(session, 'session.step.started', { ...step, started: Date.now() });
  }

  #show(): void {
    const last = this.session.messages.at(-1);
    if (last) last.info = json(this.#message);
  }

  #shows({ name, callID, partID, start }: Tool, state: object): void {
    const time = { created: Date.now(), ...(start > 0 && { ran: start }) };
    const text = json({ type: 'tool', id: callID, name, state, time });
    this.session.messages.at(-1)?.parts.set(partID, () => text);
  }

  #call = ({ callID }: Tool) => ({ assistantMessageID: this.#messageID, id: callID });

  #progress = (tool: Tool, metadata: object): Frame =>
    frame(this.session, 'session.tool.progress', { ...this.#call(tool), metadata });

  #says(type: string, data: object): Frame {
    const { ordinal } = this.#text;
    const of = { assistantMessageID: this.#messageID, ordinal };
    return frame(this.session, `session.${type}`, { ...of, ...data });
  }
}
