/**
 * Prints what a real opencode says while one prompt runs, as NDJSON with millisecond offsets: every event of
 * `/global/event`, and every change of the session's `/session/status`.
 *
 *   npx tsx test/support/capture.ts --marker '[[429]]' --seconds 30 [--delete-after S]
 *     [--abort-after S] [--ask-bash]
 */
import { parseArgs } from 'node:util';
import { startFakeProvider } from './fake-provider.js';
import { startOpencode } from './opencode.js';
import { pause } from './wait.js';

const { values } = parseArgs({
  options: {
    marker: { type: 'string', default: '[[ok]]' },
    seconds: { type: 'string', default: '15' },
    'delete-after': { type: 'string' },
    'abort-after': { type: 'string' },
    /** The session asks before each bash command. */
    'ask-bash': { type: 'boolean', default: false },
  },
});

const provider = await startFakeProvider();
const server = await startOpencode({ provider });
const { api, directory, url } = server;
const started = Date.now();
const print = (line: Record<string, unknown>) =>
  console.log(JSON.stringify({ ms: Date.now() - started, ...line }));

const over = new AbortController();
const stream = await fetch(`${url}/global/event`, { signal: over.signal });
const listening = listen(stream).catch((error: unknown) => {
  if (!over.signal.aborted) print({ streamError: String(error) });
});

const session = await api.createSession({
  directory,
  title: 'capture',
  ...(values['ask-bash'] && {
    permission: [{ permission: 'bash', pattern: '*', action: 'ask' as const }],
  }),
});
const polling = poll();
await api.promptAsync(session.id, directory, values.marker);
print({ did: 'prompt', session: session.id });

const waits: Array<Promise<void>> = [pause(Number(values.seconds) * 1000)];
if (values['abort-after']) {
  waits.push(act('abort', Number(values['abort-after']), () => api.abort(session.id, directory)));
}
if (values['delete-after']) {
  waits.push(
    act('delete', Number(values['delete-after']), () => api.remove(session.id, directory)),
  );
}
await Promise.all(waits);
over.abort();
await Promise.all([listening, polling]);
print({ providerRequests: provider.requests.map(({ prompts: _, ...rest }) => rest) });
await server.stop();
await provider.stop();

async function act(did: string, seconds: number, what: () => Promise<unknown>): Promise<void> {
  await pause(seconds * 1000);
  const answer = await what().catch(String);
  print({ did, answer });
}

async function poll(): Promise<void> {
  let last = '';
  while (!over.signal.aborted) {
    const now = JSON.stringify(await api.status(directory));
    if (now !== last) print({ status: JSON.parse(now) });
    last = now;
    await pause(100);
  }
}

async function listen(res: Response): Promise<void> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of res.body!) {
    text += decoder.decode(bytes, { stream: true });
    const frames = text.split('\n\n');
    text = frames.pop() ?? '';
    for (const frame of frames) {
      const data = frame
        .split('\n')
        .filter((line) => line.startsWith('data:'))
        .map((line) => line.slice(5).trim())
        .join('\n');
      print({ event: data ? JSON.parse(data) : frame });
    }
  }
}
