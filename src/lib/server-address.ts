/** A URL without the slashes at its end. (The pattern `/+$` takes quadratic time where slashes stand elsewhere.) */
export function withoutEndSlashes(url: string): string {
  let end = url.length;
  while (url[end - 1] === '/') end -= 1;
  return url.slice(0, end);
}

/** The host and the port that a server's URL leads to. */
export interface ServerAddress {
  /** An IPv6 address stands without its brackets. */
  host: string;
  port: number;
}

/** The host as it stands in a URL: an IPv6 address in brackets (RFC 3986, section 3.2.2). */
export function hostInUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

export function addressOf(url: string): ServerAddress {
  const { hostname, port, protocol } = new URL(url);
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port || (protocol === 'https:' ? 443 : 80)),
  };
}
