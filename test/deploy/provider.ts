/** The failing model provider of the tests as a program: `provider PORT`. */
import { createServer } from 'node:http';
import { FakeProvider } from '../support/fake-provider.js';

const server = createServer();
new FakeProvider(server);
server.listen(Number(process.argv[2] ?? 9099), '127.0.0.1');
