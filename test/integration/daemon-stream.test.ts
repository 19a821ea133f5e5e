/** The daemon with an event stream that is cut, goes silent, is missing, or carries nonsense. */
import { describe, expect, it } from 'vitest';
import { aborts, fake, OWN, retry, start, watch } from './daemon-support.js';

/** No regular polls: everything comes from the stream, or from the polls after a connect. */
const STREAM_ONLY = { watch: { pollInterval: 60_000 } };

describe('a stream that is cut', () => {
  it('is connected again and polled after, and no session is touched', async () => {
    const server = await fake();
    const { id } = server.addSession({ status: { type: 'busy' } });
    const run = watch(server, { config: STREAM_ONLY });
    await run.saw('session.health', { health: 'busy' });
    const polls = server.count('GET /session/status');
    const from = run.lines.length;
    server.endStreams();
    expect(await run.saw('stream.lost')).toMatchObject({
      path: '/global/event',
      reason: 'the server ended it',
      silentMs: expect.any(Number),
    });
    await run.saw('stream.connected', { path: '/global/event' }, from);
    await run.asked('GET /global/health', 3);
    expect(server.count('GET /session/status')).toBe(polls + 1);
    expect(run.healths(id)).toEqual(['busy']);
    expect(aborts(server)).toEqual([]);
    expect(run.control.count('restart')).toBe(0);
    // The stream is the first to notice that a process dies.
    expect(run.control.count('poke')).toBe(1);
  });

  it('hides a session that gets stuck meanwhile only until it is back', async () => {
    const { server, run } = await start({ config: STREAM_ONLY });
    const { id } = server.addSession();
    server.fault('GET /global/event', { status: 503 });
    server.endStreams();
    await run.saw('stream.lost');
    server.setStatus(id, retry(5));
    server.clearFaults();
    expect(await run.saw('session.stuck')).toMatchObject({ sessionID: id, reason: 'attempts' });
    await run.saw('session.aborted', { sessionID: id });
  });

  it('proves no silence: who worked on while nobody listened is left alone', async () => {
    const server = await fake();
    const { id, messages } = server.addSession({ status: { type: 'busy' } });
    const message = (n: number) => ({
      info: { id: `msg_${n}`, role: 'assistant', sessionID: id },
      parts: [],
    });
    messages.push(message(1));
    const run = watch(server, { config: { stall: { maxSilence: 1_000 } } });
    await run.saw('session.health', { health: 'busy' });
    await run.asked('GET /session/:id/message');
    server.fault('GET /global/event', { status: 503 });
    server.endStreams();
    await run.saw('stream.lost');
    await run.polled(15);
    messages.push(message(2));
    const from = run.lines.length;
    server.clearFaults();
    const connected = await run.saw('stream.connected', {}, from);
    // From now on nothing comes, and the daemon listens.
    const stuck = await run.saw('session.stuck');
    expect(stuck).toMatchObject({ sessionID: id, reason: 'silence' });
    expect(Date.parse(stuck.time) - Date.parse(connected.time)).toBeGreaterThan(950);
  });
});

describe('a stream that falls silent', () => {
  it('is given up after its heartbeats stay away, and connected again', async () => {
    const { server, run } = await start({
      heartbeatMs: 20,
      config: { watch: { pollInterval: 70, heartbeatTimeout: 600 } },
    });
    const from = run.lines.length;
    server.silenceStreams();
    const lost = await run.saw('stream.lost');
    expect(lost.reason).toMatch(/^silent for \d+ ms$/);
    expect(lost.silentMs).toBeGreaterThanOrEqual(300);
    await run.saw('stream.connected', {}, from);
    await run.polled();
    expect(run.control.count('restart')).toBe(0);
    expect(run.events('server.unresponsive')).toEqual([]);
  });
});

describe('a stream that is not there', () => {
  it('is the older one of one directory, and a stuck session is seen by it', async () => {
    const { server, run } = await start({ globalEvent: false, config: STREAM_ONLY });
    expect(await run.saw('stream.connected')).toMatchObject({ path: '/event' });
    const { id } = server.addSession();
    server.setStatus(id, retry(5));
    await run.saw('session.aborted', { sessionID: id, directory: OWN });
    expect(aborts(server)).toEqual([{ id, directory: OWN }]);
  });

  it('does not matter where /event ends at once and the global one works', async () => {
    const server = await fake({ eventEndsAtOnce: true });
    server.fault('GET /global/event', { status: 500, times: 1 });
    const run = watch(server, { config: STREAM_ONLY });
    await run.saw('stream.connected', { path: '/global/event' });
    await run.saw('server.healthy');
    const { id } = server.addSession({ directory: '/other' });
    server.setStatus(id, retry(5));
    await run.saw('session.aborted', { sessionID: id, directory: '/other' });
    expect(run.control.count('restart')).toBe(0);
  });

  it('leaves the polls, which find a stuck session all the same', async () => {
    const server = await fake({ globalEvent: false });
    server.fault('GET /event', { status: 404 });
    const { id } = server.addSession();
    const run = watch(server);
    await run.polled();
    server.setStatus(id, retry(5));
    await run.saw('session.aborted', { sessionID: id });
    expect(run.events('stream.connected')).toEqual([]);
    expect(run.events('server.notice', { level: 'warn' }).map(({ msg }) => msg)).toContain(
      'The event stream could not be opened',
    );
  });
});

describe('nonsense', () => {
  const frames = (id: string) => [
    ': a comment\n\n',
    'data: {"payload":\n\n',
    'data: 3\n\ndata: null\n\ndata: []\n\ndata: ""\n\nnonsense\n\n',
    'data: {"directory":7,"payload":{"type":{},"properties":0}}\n\n',
    `data: {"directory":"${OWN}","payload":{"type":"session.status","properties":{"sessionID":"${id}","status":5}}}\n\n`,
    `data: {"directory":"${OWN}","payload":{"type":"session.status","properties":{"sessionID":["${id}"],"status":{"type":"idle"}}}}\n\n`,
    `data: {"directory":"${OWN}","payload":{"type":"session.error","properties":{"error":"boom"}}}\n\n`,
    `data: {"directory":"${OWN}","payload":{"type":"message.part.updated","properties":{"part":{"type":"tool"}}}}\n\n`,
    `data: {"directory":"${OWN}","payload":{"type":"session.updated","properties":{"info":{"id":""}}}}\n\n`,
    `data: {"directory":"../../etc","payload":{"type":"server.instance.disposed"}}\n\n`,
    'data: \u0000\ufffd\ud83d\n\n',
  ];

  it('on the stream stops nothing and leads to no act', async () => {
    const { server, run } = await start();
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.health', { health: 'busy' });
    for (const frame of frames(id)) server.streams.sendRaw(frame);
    const huge = Array(1024 * 1024).fill('x');
    server.emit({ type: 'message.part.updated', properties: { sessionID: id, part: huge } });
    await run.asked('GET /session/:id/message');
    await run.polled();
    expect(run.healths(id)).toEqual(['busy']);
    expect(aborts(server)).toEqual([]);
    expect(run.events('stream.lost')).toEqual([]);
    server.streams.sendRaw('data: {"directory":"/fa');
    server.endStreams();
    await run.saw('stream.lost');
    await run.polled();
    expect(aborts(server)).toEqual([]);
    expect(run.control.count('restart')).toBe(0);
    // It still notices what happens to its sessions.
    server.setStatus(id, retry(5));
    await run.saw('session.aborted', { sessionID: id });
  });

  it.each<[string, unknown]>([
    ['a list', []],
    ['a word', '"busy"'],
    ['nothing', 'null'],
    ['half an object', '{"ses_fake1":{"type":"re'],
    ['more than anyone reads', JSON.stringify({ x: 'x'.repeat(17 * 1024 * 1024) })],
    ['entries of no shape', { ses_fake2: 5, ses_fake3: {}, '': { type: 'retry', attempt: 99 } }],
  ])('from /session/status stops nothing and leads to no act: %s', async (_, body) => {
    const { server, run } = await start();
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.health', { health: 'busy' });
    const mend = server.fault('GET /session/status', { body });
    await run.polled(4);
    expect(aborts(server)).toEqual([]);
    expect(run.control.count('restart')).toBe(0);
    mend();
    server.setStatus(id, retry(5));
    await run.saw('session.aborted', { sessionID: id });
  });
});
