/** The end of the daemon: it reports the runs that end with its server. */
import { expect, it } from 'vitest';
import { start } from './daemon-support.js';

it.each([
  ['stop', ['ses_fake1']],
  ['leave', []],
] as const)(
  'with server.onExit %s the runs that end with the server are named: %j',
  async (onExit, named) => {
    const { server, run } = await start({ config: { server: { onExit } } });
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.health', { sessionID: id, health: 'busy' });
    await run.stop();
    const cut = run.events('session.interrupted', { by: 'stop' });
    expect(cut.map(({ sessionID }) => sessionID)).toEqual([...named]);
  },
);
