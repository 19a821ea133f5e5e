/** The address of the status endpoint: `host:port`, `unix:/path` or `off`. */

export type Listen =
  | { kind: 'off' }
  | { kind: 'unix'; path: string }
  | { kind: 'tcp'; host: string; port: number; loopback: boolean };

/** Undefined if the text has none of the three forms. */
export function parseListen(text: string): Listen | undefined {
  if (text === 'off') return { kind: 'off' };
  const unix = /^unix:(\/.+)$/.exec(text);
  // sun_path holds 108 bytes with its closing zero (unix(7)).
  if (unix?.[1] !== undefined) {
    return Buffer.byteLength(unix[1]) < 108 ? { kind: 'unix', path: unix[1] } : undefined;
  }
  const tcp = /^(?:\[([\da-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text);
  const host = tcp?.[1] ?? tcp?.[2];
  const port = Number(tcp?.[3]);
  if (host === undefined || port > 65_535) return undefined;
  return { kind: 'tcp', host, port, loopback: isLoopback(host) };
}

/** 127.0.0.0/8, ::1 and `localhost`: what cannot be reached from another machine. */
export function isLoopback(host: string): boolean {
  const bare = host.toLowerCase().replace(/^\[|\]$/g, '');
  return bare === 'localhost' || bare === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(bare);
}

/** A daemon that listens on every address is reached on our loopback address. */
export function hostToAsk({ host }: Extract<Listen, { kind: 'tcp' }>): string {
  return { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host;
}
