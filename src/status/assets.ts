/** The page's files from `./page`. Each is read at its first request, then served from memory. */
import { readFileSync } from 'node:fs';

const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const;

const FILES = [
  'index.html',
  'page.css',
  'page.js',
  'address.js',
  'alerts.js',
  'charts.js',
  'detail.js',
  'keys.js',
  'opencode-link.js',
  'state.js',
  'token.js',
  'sessions.js',
  'server.js',
  'incidents.js',
  'words.js',
  'icon.svg',
] as const;

export interface Asset {
  /** The path in the URL. */
  path: string;
  type: string;
  body(): Buffer;
}

export function pageAssets(): Asset[] {
  return FILES.map((name) => {
    const extension = name.slice(name.lastIndexOf('.') + 1) as keyof typeof TYPES;
    let body: Buffer | undefined;
    return {
      path: name === 'index.html' ? '/' : `/${name}`,
      type: TYPES[extension],
      body() {
        body ??= readFileSync(new URL(`./page/${name}`, import.meta.url));
        return body;
      },
    };
  });
}
