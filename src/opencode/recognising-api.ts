/** The server's API as the watchdog needs it, whether the server speaks that of 1.x or of 2.x. */
import { Recognising, type RecognisingOptions } from './recognising.js';
import type { ServerApi } from './server-api.js';
import { OpencodeClient } from './v1/client.js';
import { OpencodeClientV2 } from './v2/client.js';

export class RecognisingApi extends Recognising<ServerApi> {
  constructor({ api, username, ...options }: RecognisingOptions) {
    const one = new OpencodeClient({ ...options, ...(username !== undefined && { username }) });
    super({ 1: one, 2: new OpencodeClientV2({ ...options, parseStats: one.parseStats }) }, api);
  }
}
