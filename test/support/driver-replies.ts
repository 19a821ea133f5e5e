/** Shared by the driver's tests: replies of the fake opencode. */
import type { FakeOpencode } from './fake-opencode.js';
import { waitFor } from './wait.js';

export const PROMPT = 'POST /session/:id/prompt_async';

/** Waits until `count` prompts were taken, and returns the session that was made last. */
export async function prompted(server: FakeOpencode, count = 1) {
  await waitFor(() => server.count(PROMPT) === count, { what: `prompt ${count}`, interval: 5 });
  return [...server.sessions.values()].at(-1)!;
}

/** Writes the model's answer, and sets the session idle. */
export function reply(server: FakeOpencode, id: string, text: string): void {
  server.get(id).messages.push({
    info: {
      id: 'msg_a',
      role: 'assistant',
      providerID: 'fake',
      modelID: 'm1',
      finish: 'stop',
      time: { created: 1, completed: 2 },
    },
    parts: [{ type: 'text', text, time: { start: 1, end: 2 } }],
  });
  server.setStatus(id, { type: 'idle' });
}
