/**
 * Frames of `/global/event` as opencode 1.18.33 sent them, by the name of their shape: `test/fixtures/events-1.18.33.ndjson`,
 * one frame for each shape, caught with `test/support/capture.ts`.
 */
import { readFileSync } from 'node:fs';

export interface RealEvent {
  directory?: string;
  project?: string;
  payload: Record<string, unknown>;
}

const FILE = new URL('../../fixtures/events-1.18.33.ndjson', import.meta.url);

export const realEvents: Record<string, RealEvent> = Object.fromEntries(
  readFileSync(FILE, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const { shape, ...frame } = JSON.parse(line) as RealEvent & { shape: string };
      return [shape, frame];
    }),
);
