/** The host and the port that a server's URL leads to. */
export interface ServerAddress {
  /** An IPv6 address stands without its brackets. */
  host: string;
  port: number;
}

export function addressOf(url: string): ServerAddress {
  const { hostname, port, protocol } = new URL(url);
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port || (protocol === 'https:' ? 443 : 80)),
  };
}
