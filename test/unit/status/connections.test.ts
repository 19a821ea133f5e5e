/** Who opens many connections keeps nobody out: silent ones are closed, and the newcomer always stays. */
import { EventEmitter } from 'node:events';
import type { Server } from 'node:http';
import { describe, expect, it } from 'vitest';
import { limitConnections } from '../../../src/status/connections.js';
import { FakeClock } from '../../support/fake-clock.js';

class Connection extends EventEmitter {
  bytesRead = 0;
  destroyed = false;
  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

function limited(connections: number) {
  const server = new EventEmitter();
  const clock = new FakeClock();
  limitConnections(server as unknown as Server, clock, { connections, silentMs: 3_000 });
  const open = (bytesRead = 0) => {
    const connection = new Connection();
    server.emit('connection', connection);
    connection.bytesRead = bytesRead;
    return connection;
  };
  /** A request comes, and its answer ends when the result is called. */
  const ask = (socket: Connection) => {
    const response = new EventEmitter();
    server.emit('request', { socket }, response);
    return () => response.emit('close');
  };
  return { clock, open, ask };
}

const alive = (connections: Connection[]) => connections.map(({ destroyed }) => !destroyed);

describe('connections', () => {
  it('are closed when they have sent nothing for 3 s, and only then', async () => {
    const { clock, open } = limited(10);
    const [silent, spoke] = [open(), open(1)];
    await clock.advance(2_999);
    expect(alive([silent, spoke])).toEqual([true, true]);
    await clock.advance(1);
    expect(alive([silent, spoke])).toEqual([false, true]);
  });

  it('make room for the newcomer: the oldest silent one goes first', () => {
    const { open } = limited(3);
    const [spoke, first, second] = [open(5), open(), open()];
    const newcomer = open();
    expect(alive([spoke, first, second, newcomer])).toEqual([true, false, true, true]);
    newcomer.bytesRead = 1;
    open(1);
    expect(alive([spoke, second, newcomer])).toEqual([true, false, true]);
  });

  it('that are being answered go last', () => {
    const { open, ask } = limited(2);
    const [answered, resting] = [open(5), open(5)];
    const end = ask(answered);
    const third = open(5);
    expect(alive([answered, resting, third])).toEqual([true, false, true]);
    end();
    open(5);
    expect(alive([answered, third])).toEqual([false, true]);
  });
});
