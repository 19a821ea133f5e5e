/** `page [--open]`: the link to the status page, with the token that lets it show content and act. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { parseListen } from '../config/listen.js';
import { pageLink } from '../config/page-link.js';
import type { Config } from '../config/schema.js';
import { openStateDirectory, serverStateDir, writePrivateFile } from '../lib/state-dir.js';
import { DaemonClient } from './daemon-client.js';
import {
  type CommonOptions,
  commonOf,
  complain,
  EXIT,
  ExitError,
  loadForCommand,
  print,
} from './shared.js';
import { readStatus } from './status-schema.js';

export interface PageOptions extends CommonOptions {
  open?: boolean;
}

export async function page(options: PageOptions): Promise<number> {
  const { config } = loadForCommand(commonOf(options));
  const client = new DaemonClient({ config });
  if (parseListen(config.status.listen)?.kind === 'unix') {
    throw new ExitError(
      EXIT.failed,
      `status.listen is ${config.status.listen}: a browser opens no unix socket; set it to 127.0.0.1:4097`,
    );
  }
  const { body } = await client.get('/status');
  const missing = await client.missingToken(body);
  if (missing !== undefined) throw missing;
  const { withheld } = readStatus(body);
  if (withheld !== undefined) complain(withheld);
  const link = pageLink(config, client.token);
  print(link);
  if (options.open) openInBrowser(config, link);
  return EXIT.done;
}

/** Opens the link through a file of ours, because everybody can read the command line of the program that opens it. */
function openInBrowser(config: Config, link: string): void {
  const directory = openStateDirectory(serverStateDir(process.env, config.server.url));
  if (directory.kind === 'unavailable') {
    throw new ExitError(
      EXIT.failed,
      `--open: ${directory.path} cannot be written: ${directory.why}`,
    );
  }
  const file = join(directory.path, 'page.html');
  const target = JSON.stringify(link).replaceAll('<', '\\u003c');
  writePrivateFile(
    file,
    `<!doctype html><meta charset="utf-8"><title>opencode-watchdog</title><script>location.replace(${target})</script>\n`,
  );
  const program = process.platform === 'darwin' ? 'open' : 'xdg-open';
  const child = spawn(program, [file], { stdio: 'ignore', detached: true });
  child.on('error', () => complain(`${program} is not here: open the link yourself`));
  child.unref();
}
