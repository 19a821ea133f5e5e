/**
 * The token, which the page gets behind `#` in its link: a browser sends that part to nobody. It is kept for this tab
 * alone, and taken out of the address, so that it is in no history and no bookmark.
 */

const KEY = 'opencode-watchdog token';
const IN_LINK = /^#token=(.+)$/;

take();
addEventListener('hashchange', () => {
  // Another link, opened in a tab that has the page: what is shown and hidden begins anew.
  if (take()) location.reload();
});

function take() {
  const found = IN_LINK.exec(location.hash)?.[1];
  if (found === undefined) return false;
  sessionStorage.setItem(KEY, decodeURIComponent(found));
  history.replaceState(null, '', location.pathname + location.search);
  return true;
}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;

export function credentials() {
  const token = sessionStorage.getItem(KEY);
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

/** The daemon does not know this token: it has a new one. */
export function refused() {
  sessionStorage.removeItem(KEY);
}
