/** What is chosen on the page, kept in its address: a link shows the same, and a reload too. */

const chosen = new URLSearchParams(location.search);

export const get = (name) => chosen.get(name) ?? '';

/** An empty value is none. */
export function set(name, value) {
  if (value === '') chosen.delete(name);
  else chosen.set(name, value);
  const query = chosen.toString();
  history.replaceState(null, '', `${location.pathname}${query === '' ? '' : `?${query}`}`);
}
