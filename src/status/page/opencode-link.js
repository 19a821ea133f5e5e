/**
 * Where a session is in opencode's own web page, which the server brings from 1.14 on: the directory in base64url without
 * padding, then the id (its sources: `base64Encode`, `params.dir`, `params.id`). Undefined where no address is known:
 * before that, and for OpenCode 2.
 */
const BRINGS_ITS_PAGE = /^1\.(1[4-9]|[2-9]\d|\d{3,})\./;

export function opencodeLink({ url, version = '' }, { id, directory }) {
  if (directory === undefined || !/^https?:/.test(url) || !BRINGS_ITS_PAGE.test(version)) return;
  const bytes = String.fromCharCode(...new TextEncoder().encode(directory));
  const place = btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
  return `${url}/${place}/session/${encodeURIComponent(id)}`;
}
