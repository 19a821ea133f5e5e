import { describe, expect, it } from 'vitest';
import { SdNotify } from '../../../src/daemon/sd-notify.js';
import { waitFor } from '../../support/wait.js';

const INSIDE = { NOTIFY_SOCKET: '/run/systemd/notify' };

/** `fails` is true if every message fails, else how many of the first. */
function recorded(env: NodeJS.ProcessEnv, fail?: Error, fails: true | number = true) {
  const messages: string[][] = [];
  const errors: unknown[] = [];
  const notify = new SdNotify({
    env,
    pid: 42,
    onError: (error) => errors.push(error),
    send: async (lines) => {
      messages.push([...lines]);
      if (fail && (fails === true || messages.length <= fails)) throw fail;
    },
  });
  return { notify, messages, errors };
}

describe('sd_notify', () => {
  it('says nothing outside systemd', async () => {
    const { notify, messages } = recorded({});
    notify.ready();
    notify.status('healthy');
    notify.alive();
    await notify.settled();
    expect(notify.enabled).toBe(false);
    expect(messages).toEqual([]);
  });

  it('sends in one message what is said in one go, the last status only', async () => {
    const { notify, messages } = recorded(INSIDE);
    notify.ready();
    notify.status('healthy');
    notify.status('healthy, 3 busy');
    await notify.settled();
    expect(messages).toEqual([['READY=1', 'STATUS=healthy, 3 busy']]);
  });

  it('sends one message after the other, and merges what is said meanwhile', async () => {
    let release = () => {};
    const messages: string[][] = [];
    const notify = new SdNotify({
      env: INSIDE,
      onError: () => {},
      send: (lines) => {
        messages.push([...lines]);
        return new Promise((resolve) => {
          release = resolve;
        });
      },
    });
    notify.status('starting');
    await Promise.resolve();
    notify.alive();
    notify.alive();
    notify.status('healthy');
    expect(messages).toHaveLength(1);
    release();
    await waitFor(() => messages.length === 2);
    release();
    await notify.settled();
    expect(messages[1]).toEqual(['WATCHDOG=1', 'STATUS=healthy']);
  });

  it('never says ready and reloading in one message, which systemd would take for reloading', async () => {
    const { notify, messages } = recorded(INSIDE);
    notify.reloading();
    notify.ready();
    await notify.settled();
    expect(messages).toEqual([['READY=1']]);
  });

  it('keeps a status to its line, so that no session title can speak for the daemon', async () => {
    const { notify, messages } = recorded(INSIDE);
    notify.status('healthy\nMAINPID=1');
    await notify.settled();
    expect(messages).toEqual([['STATUS=healthy MAINPID=1']]);
  });

  it('reports the first failure, and goes on', async () => {
    const failure = new Error('spawn systemd-notify ENOENT');
    const { notify, messages, errors } = recorded(INSIDE, failure);
    notify.ready();
    await notify.settled();
    notify.alive();
    await notify.settled();
    expect(errors).toEqual([failure]);
    expect(messages).toHaveLength(2);
  });

  it('sends again what still holds and did not arrive, with the next sign of life', async () => {
    const { notify, messages } = recorded(INSIDE, new Error('timed out'), 1);
    notify.extendStart(60_000);
    await Promise.resolve();
    notify.ready();
    notify.status('healthy');
    await notify.settled();
    expect(messages).toEqual([['EXTEND_TIMEOUT_USEC=60000000'], ['READY=1', 'STATUS=healthy']]);

    const lost = recorded(INSIDE, new Error('timed out'), 1);
    lost.notify.ready();
    lost.notify.status('healthy');
    await lost.notify.settled();
    lost.notify.status('healthy, 1 busy');
    lost.notify.alive();
    await lost.notify.settled();
    lost.notify.alive();
    await lost.notify.settled();
    expect(lost.messages.slice(1)).toEqual([
      ['READY=1', 'STATUS=healthy, 1 busy', 'WATCHDOG=1'],
      ['WATCHDOG=1'],
    ]);
  });

  it('sends it again when asked, and nothing where all has arrived', async () => {
    const { notify, messages } = recorded(INSIDE, new Error('timed out'), 1);
    notify.ready();
    await notify.settled();
    notify.resend();
    await notify.settled();
    notify.resend();
    await notify.settled();
    expect(messages).toEqual([['READY=1'], ['READY=1']]);
  });

  it('never sends again a state that a newer one has replaced', async () => {
    const { notify, messages } = recorded(INSIDE, new Error('timed out'), 1);
    notify.reloading();
    await Promise.resolve();
    notify.ready();
    await notify.settled();
    notify.stopping();
    await notify.settled();
    expect(messages).toEqual([['RELOADING=1'], ['READY=1'], ['STOPPING=1']]);
  });

  it('is not surprised that its tool is ended while everything stops', async () => {
    const { notify, errors } = recorded(INSIDE, new Error('systemd-notify ended with SIGTERM'));
    notify.stopping();
    await notify.settled();
    expect(errors).toEqual([]);
  });

  it.each([
    ['in microseconds', { WATCHDOG_USEC: '60000000' }, 60_000],
    ['meant for this process', { WATCHDOG_USEC: '60000000', WATCHDOG_PID: '42' }, 60_000],
    ['meant for another process', { WATCHDOG_USEC: '60000000', WATCHDOG_PID: '7' }, undefined],
    ['that is off', { WATCHDOG_USEC: '0' }, undefined],
    ['that is no number', { WATCHDOG_USEC: 'soon' }, undefined],
    ['that is not set', {}, undefined],
  ])('reads a watchdog limit %s', (_, env, limit) => {
    expect(recorded({ ...INSIDE, ...env }).notify.watchdogMs).toBe(limit);
  });

  it('says once what is missing where there is no systemd-notify', async () => {
    const errors: unknown[] = [];
    const notify = new SdNotify({
      env: { ...INSIDE, PATH: '/nonexistent' },
      onError: (error) => errors.push(error),
    });
    notify.ready();
    await notify.settled();
    expect(String(errors[0])).toContain('ENOENT');
  });
});
