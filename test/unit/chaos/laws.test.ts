import { describe, expect, it } from 'vitest';
import { NEXT_SERVER, RECOVER_MS, SECRETS, SERVER, Story } from './story.js';

/** One violation, of this law. */
function expectOne(story: Story, law: string): void {
  const broken = story.broken();
  expect(broken).toHaveLength(1);
  expect(broken[0]).toContain(law);
}

it('has nothing to say of a run in which all goes as it should', () => {
  const story = new Story();
  const healthy = story.session('quiet-tool');
  const stuck = story.session('hang');
  story.wait(12).abort(stuck, 'silence').wait(5);
  story.log('directory.disposing', { directory: '/p', interrupted: [stuck] });
  story.tell({ kind: 'session.ended', sessionID: healthy, finish: 'stop' });
  const id = story.begin('server-kill');
  story.tell({ kind: 'servers', processes: [] });
  story.over('server-kill', id);
  story.log('server.exited', { pid: SERVER.pid });
  story.log('session.interrupted', { sessionID: stuck });
  story.log('server.restarting', { reason: 'exited', pid: SERVER.pid }).wait(3);
  story.tell({ kind: 'servers', processes: [NEXT_SERVER] });
  story.log('server.restarted', { reason: 'exited', pid: NEXT_SERVER.pid });
  story.tell({ kind: 'ready', ready: true });
  story.tell({ kind: 'wire.prompt', sessionID: stuck });
  story.wait(100);
  story.tell({ kind: 'left.over', processes: [] });
  expect(story.broken()).toEqual([]);
  for (const { name, checks } of story.judge.laws) expect(checks, name).toBeGreaterThan(0);
});

describe('one server', () => {
  it('sees two at once', () => {
    const story = new Story();
    story.tell({ kind: 'servers', processes: [SERVER, NEXT_SERVER] });
    expect(story.broken().join()).toContain('two servers at once: 100');
  });
});

describe('no orphan', () => {
  const sleep = { pid: 7, start: 900, command: 'sleep 3600' };

  it('sees a tool that outlives its server for long, and says so once', () => {
    const story = new Story();
    for (let i = 0; i < 20; i++) {
      const processes = [sleep];
      story.tell({ kind: 'old.processes', news: false, server: SERVER, processes });
      story.wait(1);
    }
    expectOne(story, 'no orphan: pid 7 (sleep 3600)');
  });

  it('lets the old family die in its time', () => {
    const story = new Story();
    story.tell({ kind: 'old.processes', news: true, server: SERVER, processes: [sleep] });
    story.wait(5);
    story.tell({ kind: 'old.processes', news: true, server: SERVER, processes: [] });
    expect(story.wait(60).broken()).toEqual([]);
  });

  it('sees what is left at the end', () => {
    const story = new Story();
    story.tell({ kind: 'left.over', processes: [sleep] });
    expectOne(story, 'no orphan: left when all was stopped');
  });
});

describe('no healthy session touched', () => {
  it.each(['session.stuck', 'session.aborting', 'session.aborted', 'session.wedged'])(
    'sees %s of a healthy session',
    (event) => {
      const story = new Story();
      story.log(event, { sessionID: story.session('stream'), reason: 'silence' });
      expectOne(story, 'no healthy session touched');
    },
  );

  it('sees an abort on the wire that no log line tells of', () => {
    const story = new Story();
    story.tell({ kind: 'wire.abort', sessionID: story.session('question') });
    const broken = story.broken().join();
    expect(broken).toContain('an abort was sent for ses_question');
    expect(broken).toContain('it was never announced');
  });

  it('sees a session that it does not know', () => {
    const story = new Story();
    story.log('session.stuck', { sessionID: 'ses_other', reason: 'silence' });
    expectOne(story, 'that nobody knows');
  });

  it('sees a reason that does not fit', () => {
    const story = new Story();
    const sessionID = story.session('hang');
    story.abort(sessionID, 'tool_time');
    expect(story.broken().join()).toContain('not what ails it');
  });

  it('sees a healthy run that ended otherwise than it should', () => {
    const story = new Story();
    const sessionID = story.session('stream');
    story.tell({ kind: 'session.ended', sessionID, finish: 'error' });
    expectOne(story, 'stream ended with "error"');
  });

  it('takes a verdict for right that the provider’s fault made right, and only then', () => {
    const story = new Story();
    const before = story.session('stream', 'ses_before');
    const id = story.begin('provider-flap');
    story.wait(3).abort(before, 'attempts');
    story.over('provider-flap', id);
    story.tell({ kind: 'ready', ready: true });
    story.wait(1);
    const after = story.session('stream', 'ses_after');
    story.wait(3).abort(after, 'attempts');
    const broken = story.broken();
    expect(broken.filter((what) => what.includes('ses_before'))).toEqual([]);
    expect(broken.join()).toContain('of a healthy session, stream');
  });
});

describe('no restart without a fault', () => {
  it.each(['unresponsive', 'wedged', 'pileup', 'memory'])('sees one because of "%s"', (reason) => {
    const story = new Story();
    story.log('server.restarting', { reason, pid: SERVER.pid });
    expectOne(story, 'no restart without a fault');
  });

  it('sees one for wedged sessions that cuts as many healthy runs as it ends stuck ones', () => {
    const story = new Story();
    story.session('stream');
    story.session('hang');
    const id = story.begin('net-slow');
    story.wait(8).log('server.restarting', { reason: 'wedged', pid: SERVER.pid });
    story.over('net-slow', id);
    expect(story.broken().join()).toContain('it cuts 1 healthy runs and ends at most 1 stuck');
  });

  it('has nothing against one that cuts fewer healthy runs than it ends stuck ones', () => {
    const story = new Story();
    for (const n of [1, 2]) story.session('hang', `ses_${n}`);
    story.session('stream');
    story.tell({ kind: 'excuses', excuses: ['network'] });
    story.begin('net-slow');
    story.wait(8).log('server.restarting', { reason: 'wedged', pid: SERVER.pid });
    for (const n of [1, 2]) story.tell({ kind: 'session.cut', sessionID: `ses_${n}` });
    expect(story.broken()).toEqual([]);
  });

  it('takes a slow server for no silent one', () => {
    const story = new Story();
    story.begin('net-slow');
    story.wait(5).log('server.restarting', { reason: 'unresponsive', pid: SERVER.pid });
    expect(story.broken().join()).toContain('declared unresponsive without a fault');
  });

  it('sees a living server that is declared gone', () => {
    const story = new Story();
    story.log('server.restarting', { reason: 'exited', pid: SERVER.pid });
    expectOne(story, 'and pid 100 lives');
  });

  it('takes a blink of a busy machine, or a fault of half a minute ago, for no reason', () => {
    const story = new Story();
    story.tell({ kind: 'excuses', excuses: ['server silent'] });
    story.now += 500;
    story.tell({ kind: 'excuses', excuses: [] });
    story.wait(1).log('server.restarting', { reason: 'unresponsive', pid: SERVER.pid });
    expectOne(story, 'declared unresponsive without a fault');
  });

  it('counts a moment once in which the server was both frozen and silent', () => {
    const story = new Story();
    story.tell({ kind: 'excuses', excuses: ['server frozen', 'server silent'] });
    story.now += 1_000;
    story.tell({ kind: 'excuses', excuses: [] });
    story.wait(1).log('server.restarting', { reason: 'unresponsive', pid: SERVER.pid });
    expectOne(story, 'declared unresponsive without a fault');
  });

  it('takes a frozen server, and a pile of sessions that retry, for a reason', () => {
    const story = new Story();
    story.tell({ kind: 'excuses', excuses: ['server frozen'] });
    story.wait(15).log('server.restarting', { reason: 'unresponsive', pid: SERVER.pid });
    for (const n of [1, 2, 3]) story.session('rate-limit', `ses_${n}`);
    story.wait(5).log('server.restarting', { reason: 'pileup', pid: SERVER.pid });
    for (const n of [1, 2, 3]) story.tell({ kind: 'session.cut', sessionID: `ses_${n}` });
    expect(story.broken()).toEqual([]);
  });
});

describe('every stuck session ended in time', () => {
  it('sees one that is left alone', () => {
    const story = new Story();
    story.session('hang');
    expect(story.wait(60).broken()[0]).toContain('hang has been stuck for');
  });

  it('counts only time in which nothing stands in the way', () => {
    const story = new Story();
    const sessionID = story.session('hang');
    for (let i = 0; i < 6; i++) {
      story.tell({ kind: 'excuses', excuses: ['network'] });
      story.wait(5);
      story.tell({ kind: 'excuses', excuses: [] });
      story.wait(10);
    }
    story.abort(sessionID, 'silence');
    expect(story.broken()).toEqual([]);
  });

  it('lets a wait whose announcement was not heard come to its end', () => {
    const story = new Story();
    const sessionID = story.session('quota-back');
    story.tell({ kind: 'excuses', excuses: ['server silent'] });
    story.wait(2).tell({ kind: 'excuses', excuses: [] });
    story.wait(45).abort(sessionID, 'wait');
    expect(story.broken()).toEqual([]);
  });

  it('sees one that still runs at the end', () => {
    const story = new Story();
    story.session('endless-tool');
    expectOne(story, 'endless-tool still runs at the end');
  });

  it('counts a ghost’s time from its deletion', () => {
    const story = new Story();
    const sessionID = story.session('ghost-hang');
    story.wait(40);
    expect(story.judge.violations).toEqual([]);
    story.tell({ kind: 'session.ripe', sessionID });
    expect(story.wait(40).broken()[0]).toContain('ghost-hang has been stuck');
  });
});

describe('every decision logged once', () => {
  it('sees a decision that is said twice', () => {
    const story = new Story();
    const sessionID = story.session('hang');
    story.wait(12).log('session.stuck', { sessionID, reason: 'silence' });
    story.abort(sessionID, 'silence');
    expectOne(story, 'said twice');
  });

  it('takes the same verdict a while later for another decision', () => {
    const story = new Story();
    const sessionID = story.session('hang');
    story.wait(12).log('session.stuck', { sessionID, reason: 'silence' }).wait(3);
    story.abort(sessionID, 'silence');
    expect(story.broken()).toEqual([]);
  });

  it('sees an abort that was sent and never announced', () => {
    const story = new Story();
    const sessionID = story.session('hang');
    story.tell({ kind: 'wire.abort', sessionID });
    story.tell({ kind: 'session.ended', sessionID, finish: 'error' });
    expect(story.wait(70).broken().join()).toContain('it was never announced');
  });

  it('sees an abort whose end was never said', () => {
    const story = new Story();
    const sessionID = story.session('hang');
    story.log('session.aborting', { sessionID, reason: 'silence', try: 1 });
    story.tell({ kind: 'wire.abort', sessionID });
    story.tell({ kind: 'session.ended', sessionID, finish: 'error' });
    expect(story.wait(70).broken().join()).toContain('its end was never said');
  });

  it('sees a start of the server that nobody decided', () => {
    const story = new Story();
    story.tell({ kind: 'servers', processes: [NEXT_SERVER] });
    expectOne(story, 'started 2 times, and 1 starts were said');
  });
});

describe('no secret printed', () => {
  it.each([
    ['in a log line', (s: Story, secret: string) => s.log('error', { msg: `x ${secret} y` })],
    [
      'in the process list',
      (s: Story, secret: string) =>
        s.tell({ kind: 'shown', where: 'the process list', text: `opencode --password ${secret}` }),
    ],
    [
      'on stderr',
      (s: Story, stderr: string) =>
        s.tell({
          kind: 'daemon.ended',
          generation: 1,
          code: 0,
          signal: null,
          expected: true,
          stderr,
        }),
    ],
  ])('sees one %s', (_where, show) => {
    const story = new Story();
    show(story, SECRETS['server password']);
    show(story, Buffer.from(`opencode:${SECRETS['server password']}`).toString('base64'));
    const broken = story.broken().filter((what) => what.startsWith('no secret printed'));
    expect(broken.length).toBeGreaterThan(0);
  });
});

describe('the daemon lives and says what it lost', () => {
  it('sees it end by itself, print an error, and break a line', () => {
    const story = new Story();
    story.log('error', { doing: 'turning the loop' });
    story.tell({ kind: 'log.broken', generation: 1, text: '{"level":"in{"level' });
    story.tell({
      kind: 'daemon.ended',
      generation: 1,
      code: 1,
      signal: null,
      expected: false,
      stderr: 'TypeError',
    });
    expect(story.broken()).toHaveLength(3);
  });

  it('sees lines that a full disk has cost without a word', () => {
    const story = new Story();
    const id = story.begin('disk-daemon');
    story.wait(10);
    story.over('disk-daemon', id);
    story.tell({ kind: 'ready', ready: true });
    expectOne(story.wait(40), 'what was said meanwhile is lost');
  });

  it.each(['log.dropped', 'health.summary'])('is content with %s', (event) => {
    const story = new Story();
    const id = story.begin('disk-daemon');
    story.wait(10);
    const time = new Date(story.now - 3_000).toISOString();
    story.over('disk-daemon', id);
    story.tell({ kind: 'ready', ready: true });
    story.log(event, { time });
    expect(story.wait(40).broken()).toEqual([]);
  });
});

describe('well again after every fault', () => {
  it('sees a server that does not come back', () => {
    const story = new Story();
    const id = story.begin('server-kill');
    story.tell({ kind: 'excuses', excuses: ['server down'] });
    story.over('server-kill', id);
    expectOne(story.wait(RECOVER_MS / 1000 + 2), 'not ready');
  });

  it('sees what a fault was answered with, where that is wrong in itself', () => {
    const story = new Story();
    story.over('daemon-double', story.begin('daemon-double'), 'a second daemon was not refused');
    expectOne(story, 'a second daemon was not refused');
  });
});

describe('a wedged session', () => {
  it('may be said twice, where what comes next has changed, and is then a person’s matter', () => {
    const story = new Story();
    const sessionID = story.session('hang');
    story.wait(12).log('session.wedged', { sessionID, reason: 'silence', next: 'restart' });
    story.log('session.wedged', { sessionID, reason: 'silence', next: 'nothing' });
    expect(story.wait(120).broken()).toEqual([]);
  });

  it('has the time of the deferred restart on top, and no more', () => {
    const story = new Story();
    const sessionID = story.session('hang');
    story.wait(12).log('session.wedged', { sessionID, reason: 'silence', next: 'restart' });
    expect(story.wait(20).judge.violations).toEqual([]);
    expect(story.wait(30).broken().join()).toContain('has been stuck for');
  });
});

describe('continued once, and only what was cut or parked', () => {
  const law = 'continued once';
  const until = (story: Story, seconds: number) =>
    new Date(story.now + seconds * 1_000).toISOString();

  it('has nothing against a run that was parked, and continued when its quota was back', () => {
    const story = new Story();
    const sessionID = story.session('quota-back');
    story.abort(sessionID, 'wait').log('session.parked', { sessionID, until: until(story, 45) });
    story.wait(50).tell({ kind: 'wire.prompt', sessionID });
    story.log('session.continued', { sessionID });
    story.log('session.unparked', { sessionID, outcome: 'continued' });
    expect(story.broken()).toEqual([]);
  });

  it('sees a prompt on the wire for a session that was neither cut nor parked', () => {
    const story = new Story();
    story.tell({ kind: 'wire.prompt', sessionID: story.session('quick') });
    expectOne(story, law);
  });

  it('sees a run that was cut once and is continued twice', () => {
    const story = new Story();
    const sessionID = story.session('stream');
    story.log('session.interrupted', { sessionID });
    story.log('session.continued', { sessionID }).log('session.continued', { sessionID });
    expectOne(story, law);
  });

  it('sees a parked run that is continued after its person came back', () => {
    const story = new Story();
    const sessionID = story.session('quota-person');
    story.abort(sessionID, 'wait').log('session.parked', { sessionID, until: until(story, 45) });
    story.wait(10).tell({ kind: 'session.prompted', sessionID });
    story.log('session.unparked', { sessionID, outcome: 'superseded' });
    story.wait(40).tell({ kind: 'wire.prompt', sessionID });
    expectOne(story, law);
  });

  it('sees a parked run that is forgotten', () => {
    const story = new Story();
    const sessionID = story.session('quota-back');
    story.abort(sessionID, 'wait').log('session.parked', { sessionID, until: until(story, 45) });
    expect(story.judge.waysBack.pending).toBe(true);
    story.wait(300);
    expectOne(story, 'has been parked for');
  });

  it('lets the next daemon say once more who is parked, and nobody else', () => {
    const story = new Story();
    const sessionID = story.session('quota-back');
    story.abort(sessionID, 'wait').log('session.parked', { sessionID, until: until(story, 45) });
    story.tell({ kind: 'daemon.started', generation: 2, pid: 51 });
    story.log('session.parked', { sessionID, until: until(story, 45) }, 2);
    story.log('session.unparked', { sessionID, outcome: 'let_go' }, 2);
    story.log('session.unparked', { sessionID, outcome: 'let_go' }, 2);
    expectOne(story, 'was not parked');
  });

  it('sees a quarantined session that is continued, and one that is quarantined for nothing', () => {
    const story = new Story();
    const sessionID = story.session('killer');
    story.tell({ kind: 'servers', processes: [] });
    story.log('session.interrupted', { sessionID });
    story.log('session.quarantined', { sessionID, crashes: 2 });
    story.log('session.continued', { sessionID });
    const broken = story.broken().join();
    expect(broken).toContain('the server ended 1 times under it');
    expect(broken).toContain('is quarantined, and was continued');
  });
});

describe('a dispose spares healthy runs', () => {
  const dispose = (story: Story, interrupted: string[]) =>
    story.log('directory.disposing', { directory: '/p', reason: 'wedged', interrupted });

  it('sees a healthy run that is cut without a wait', () => {
    const story = new Story();
    const ids = [story.session('stream'), story.session('quiet-tool'), story.session('permission')];
    story.wait(8);
    expectOne(dispose(story, ids), 'it cuts 3 healthy runs beside 0 others');
  });

  it('has nothing against one that ends more than it cuts, after its wait', () => {
    const story = new Story();
    const stuck = [story.session('hang'), story.session('stall')];
    const healthy = story.session('permission');
    story.wait(2).log('directory.deferred', { directory: '/p', waitsFor: [healthy] });
    story.wait(15);
    dispose(story, [...stuck, healthy]);
    story.log('session.interrupted', { sessionID: healthy, by: 'dispose' });
    for (const sessionID of [...stuck, healthy]) {
      story.tell({ kind: 'session.ended', sessionID, finish: 'error' });
    }
    expect(story.broken()).toEqual([]);
  });

  it('sees one that cuts as many as it ends', () => {
    const story = new Story();
    const ids = [story.session('hang'), story.session('permission')];
    story.wait(2).log('directory.deferred', { directory: '/p' }).wait(15);
    dispose(story, ids);
    for (const sessionID of ids) story.tell({ kind: 'session.cut', sessionID });
    expectOne(story, 'it cuts 1 healthy runs beside 1 others');
  });
});
