/** `mcp`: the driver as an MCP server on stdio, for agents that call tools. Only the protocol is written to stdout. */
import { once } from 'node:events';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { SystemClock } from '../lib/clock.js';
import { type DrivingOptions, drive } from './driver-commands.js';
import { BackgroundRuns } from './mcp-runs.js';
import { mcpServer } from './mcp-tools.js';
import { EXIT } from './shared.js';

/** Serves until the client goes away. What still runs then is aborted and deleted. */
export async function mcp(options: DrivingOptions): Promise<number> {
  return drive(options, async ({ driver, signal }) => {
    const clock = new SystemClock();
    const runs = new BackgroundRuns(clock);
    const server = mcpServer({ driver, clock, runs });
    const gone = clientGone(signal);
    await server.connect(new StdioServerTransport());
    await gone;
    await runs.end();
    await server.close();
    return signal.aborted ? EXIT.failed : EXIT.done;
  });
}

/** Settles when the client has closed our stdin or its end of stdout, or when we are told to stop. Never rejects. */
async function clientGone(signal: AbortSignal): Promise<void> {
  const settled = new AbortController();
  const either = AbortSignal.any([signal, settled.signal]);
  // Writing to a client that is gone raises an error event. It ends the wait, and the listener has to stay.
  process.stdout.on('error', () => settled.abort());
  process.stdin.on('error', () => settled.abort());
  process.stdin.once('end', () => settled.abort()).once('close', () => settled.abort());
  if (!either.aborted) await once(either, 'abort');
}
