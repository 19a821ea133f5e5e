/** What every trial needs of opencode: its configuration with the fake provider, and its API through any way of asking. */
import { until } from './shell.mjs';

export const PROVIDER_PORT = 9099;

/** No updates, no downloads: the machines of the trials have no network. */
export const OPENCODE_ENV = {
  OPENCODE_DISABLE_AUTOUPDATE: '1',
  OPENCODE_DISABLE_MODELS_FETCH: '1',
  OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
};

export const OPENCODE_JSON = JSON.stringify({
  model: 'fake/m1',
  autoupdate: false,
  share: 'disabled',
  permission: { bash: 'allow' },
  provider: {
    fake: {
      npm: '@ai-sdk/openai-compatible',
      name: 'fake',
      options: { baseURL: `http://127.0.0.1:${PROVIDER_PORT}/v1`, apiKey: 'x' },
      models: { m1: { name: 'm1' } },
    },
  },
});

/** `ask(method, path, body, seconds)` gives `{ status, text }`. */
export class Opencode {
  constructor(ask) {
    this.ask = ask;
  }

  async healthy() {
    const { status, text } = await this.ask('GET', '/global/health', undefined, 2);
    return status === 200 && JSON.parse(text).healthy === true;
  }

  /** Starts a session with this prompt; gives its id. */
  async prompt(text) {
    const made = await this.json('POST', '/session', {});
    await this.json('POST', `/session/${made.id}/prompt_async`, {
      parts: [{ type: 'text', text }],
    });
    return made.id;
  }

  statuses() {
    return this.json('GET', '/session/status');
  }

  /** Waits until the session is in this status. */
  reaches(id, type, timeoutMs = 60_000) {
    return until(
      `${id} ${type}`,
      async () => ((await this.statuses())[id]?.type ?? 'idle') === type,
      timeoutMs,
    );
  }

  /** Whether the session's answer grows just now: its text is written down at its end only, its pieces are events. */
  async streams(id) {
    const { text } = await this.ask('GET', '/global/event', undefined, 3);
    return (
      text.split('\n').filter((line) => line.includes('message.part.delta') && line.includes(id))
        .length > 10
    );
  }

  async json(method, path, body) {
    const { status, text } = await this.ask(method, path, body);
    if (status < 200 || status > 299)
      throw new Error(`${method} ${path}: ${status} ${text.slice(0, 300)}`);
    return text === '' ? null : JSON.parse(text);
  }
}
